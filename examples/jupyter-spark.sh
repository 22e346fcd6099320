#!/bin/bash
# Jupyter with Spark in a batch job, on its first node, under any scheduler. The lines for other schedulers than
# yours are comments to it. Submit it with sbatch, qsub or bsub, or run it on any machine.
#SBATCH --nodes=1 --cpus-per-task=4 --mem=16G --time=02:00:00
#PBS -l select=1:ncpus=4:mem=16gb
#PBS -l walltime=02:00:00
#BSUB -n 4 -R "span[hosts=1]" -W 2:00
#$ -l h_rt=02:00:00

# ood-runtime must be on PATH: load the site's module here, or activate the environment that it is in.
job=${SLURM_JOB_ID:-${PBS_JOBID:-${LSB_JOBID:-${JOB_ID:-$$}}}}
session=$HOME/jupyter-spark-$job

# Where the scheduler does not confine jobs to their cores and memory, say what this job may use, as in
#   --set spark.worker.cores=3 --set spark.driver.memory=2g --set spark.worker.memory=9g
#
# exec: signals of the scheduler reach ood-runtime itself, which then ends the session in order.
exec ood-runtime start jupyter-spark --session-dir "$session"
