#!/bin/sh
# `apptainer test`: what a session needs is there, and a real one computes a sum on its Spark cluster. APP
set -eu
app=$1
unset OOD_RUNTIME_SITE_CONFIG
export OOD_RUNTIME_SPARK__CLASS_DATA=use
ood-runtime archives list

directory=$(mktemp -d)
started=
end() {
    [ -z "$started" ] || { kill "$started"; wait "$started" || :; } 2>/dev/null
    rm -rf "$directory"
}
trap end EXIT
trap 'exit 1' INT TERM HUP
session=$directory/session
mkdir -m 700 "$session"

# While the image is built, we are root, as far as the namespace goes.
if [ "$(id -u)" -eq 0 ]; then set -- --allow-root; else set --; fi
ood-runtime doctor "$app"
ood-runtime start "$app" --session-dir "$session" "$@" &
started=$!
ood-runtime wait --session-dir "$session" --pid "$started"
case $app in
    rstudio-spark) ;; # signed in: that is how it became ready
    jupyter-spark) /opt/ood-runtime/bin/python /opt/ood-runtime/sum.py "$session" ;;
esac
