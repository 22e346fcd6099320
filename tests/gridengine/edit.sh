#!/bin/sh
# The editor that qconf starts, which takes a program only: changes a file as CHANGES, a script of sed, says.
exec sed -i -e "$CHANGES" "$1"
