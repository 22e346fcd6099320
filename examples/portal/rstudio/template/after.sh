# shellcheck shell=bash
# Sourced by the job's script, which calls create_yml next: connection.yml is there when the session is ready, and the
# job ends at once, with the reason, when the session cannot become so. In the background, since a trap has to wait for
# what runs in the foreground.
create_yml() { ood-runtime publish "$PWD/connection.yml" --pid "$SCRIPT_PID" & wait $! || clean_up 1; }
