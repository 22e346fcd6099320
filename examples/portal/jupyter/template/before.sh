# shellcheck shell=bash
# Sourced by the job's script, before it starts script.sh.

# Deleting the card and the end of the job's time end the session in order.
trap 'kill -TERM "${SCRIPT_PID:-$!}"; wait "${SCRIPT_PID:-$!}"; clean_up 143' TERM INT HUP USR1 USR2
