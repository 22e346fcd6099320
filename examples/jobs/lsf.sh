#!/bin/bash
# Jupyter and a Spark cluster on two hosts of LSF: bsub < lsf.sh
#BSUB -n 8
#BSUB -R "span[ptile=4] rusage[mem=16GB]"
#BSUB -W 2:00
# One minute for an orderly end.
#BSUB -wt 1 -wa TERM

# ood-runtime must be on PATH: load the site's module here. exec: it gets the scheduler's signals itself.
exec ood-runtime start jupyter-spark --session-dir "$HOME/jupyter-spark-$LSB_JOBID"
