#!/bin/bash
# Jupyter and a Spark cluster on two nodes of Torque: qsub torque.sh
#PBS -l nodes=2:ppn=4
#PBS -l pmem=4gb
#PBS -l walltime=02:00:00

# ood-runtime must be on PATH: load the site's module here. exec: it gets the scheduler's signals itself.
exec ood-runtime start jupyter-spark --session-dir "$HOME/jupyter-spark-$PBS_JOBID"
