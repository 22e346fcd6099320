#!/bin/bash
# Starts machine.sh in namespaces of its own; ends when the machine is off, and ends it when it is ended itself.
#
#   boot.sh GROUP CGROUPS MACHINE_SH_ARGUMENT...
#
# GROUP is where the machine is in the hierarchy of each controller of CGROUPS (cgroup v1), which it will see as root.
set -euo pipefail
group=$1 cgroups=$2
shift 2
for controller in $cgroups; do
    mkdir -p "/sys/fs/cgroup/$controller/$group"
    echo $$ >"/sys/fs/cgroup/$controller/$group/cgroup.procs"
done
exec unshare --mount --uts --ipc --pid ${cgroups:+--cgroup} --fork --kill-child --mount-proc \
    bash "${BASH_SOURCE[0]%/*}/machine.sh" "$@"
