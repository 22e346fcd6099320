#!/bin/bash
# The session: exec makes it the process that the job's script watches and ends.
exec ood-runtime start rstudio --session-dir "$PWD" --config settings.yml
