#!/bin/bash
# Jupyter and a Spark cluster on two nodes of OpenPBS or PBS Professional: qsub pbs.sh
#PBS -l select=2:ncpus=4:mem=16gb
#PBS -l place=scatter
#PBS -l walltime=02:00:00

# ood-runtime must be on PATH: load the site's module here. exec: it gets the scheduler's signals itself.
exec ood-runtime start jupyter-spark --session-dir "$HOME/jupyter-spark-$PBS_JOBID"
