#!/bin/bash
# Process 1 of a machine of tests/slurm/machines.py, in namespaces of its own: makes it a machine, starts its daemons
# and adopts what they leave.
#
#   machine.sh STATE NAME ADDRESS CGROUPS DAEMONS [SHARED_DIRECTORY_BELOW_TMP...]
#
# STATE/etc holds the machine's own /etc/hosts, and /etc/slurm and the like, hidden from the machine beneath.
set -euo pipefail
state=$1 name=$2 address=$3 cgroups=$4 daemons=$5
shift 5
here=$state/machines/$name
exec </dev/null >>"$here/boot.log" 2>&1
cd /
rm -f "$here/booted"

# What is private to a machine; everything else is shared, as over NFS.
mkdir -p "$here"/{tmp,vartmp,outer}
chmod 1777 "$here/tmp" "$here/vartmp"
mount --bind /tmp "$here/outer"
mount --bind "$here/tmp" /tmp
mount --bind "$here/vartmp" /var/tmp
for directory; do
    mkdir -p "$directory"
    mount --bind "$here/outer/${directory#/tmp/}" "$directory"
done
umount "$here/outer"
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock /run/user
for path in "$state"/etc/*; do
    mount --bind "$path" "/etc/${path##*/}"
done
# Seen through our cgroup namespace: what is below is all there is.
for controller in $cgroups; do
    umount "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
done

hostname "$name"
ip link set lo up
if [ "$name" = head ]; then
    ip link add eth0 up type bridge
    ip addr add "$address/24" dev eth0
else
    ip addr replace "$address/24" dev eth0
    ip link set eth0 up
fi

# shellcheck disable=SC1090
. "$daemons"
touch "$here/booted"
while :; do
    wait
    sleep 1
done
