#!/bin/bash
# Jupyter and a Spark cluster on two nodes of Slurm: sbatch slurm.sh
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=4 --mem=16G
#SBATCH --time=02:00:00
# One minute for an orderly end; and a lost node is not the end.
#SBATCH --signal=B:TERM@60 --no-kill

# ood-runtime must be on PATH: load the site's module here. exec: it gets the scheduler's signals itself.
exec ood-runtime start jupyter-spark --session-dir "$HOME/jupyter-spark-$SLURM_JOB_ID"
