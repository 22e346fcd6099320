#!/bin/bash
# Jupyter and a Spark cluster on hosts of Grid Engine: qsub gridengine.sh
# The parallel environment is the site's, and must have control_slaves TRUE.
#$ -pe spread 8
#$ -l mem_free=16G
#$ -l h_rt=02:00:00,s_rt=01:59:00
# SIGUSR2 before SIGKILL: time for an orderly end.
#$ -notify

# ood-runtime must be on PATH: load the site's module here. exec: it gets the scheduler's signals itself.
exec ood-runtime start jupyter-spark --session-dir "$HOME/jupyter-spark-$JOB_ID"
