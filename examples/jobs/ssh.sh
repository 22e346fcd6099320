#!/bin/bash
# Jupyter and a Spark cluster on machines without a scheduler, this one and others: ssh.sh HOST[,HOST...]
# All share your home directory, and the others let you in without a password. It ends with Ctrl-C.

# ood-runtime must be on PATH.
exec ood-runtime start jupyter-spark --session-dir "$HOME/jupyter-spark-$$" --set "ssh.hosts=[$1]"
