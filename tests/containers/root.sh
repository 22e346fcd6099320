#!/bin/bash
# Makes a Debian with Apptainer in DIRECTORY, for machines whose own distribution has no package of it: DIRECTORY USER
#
# Debian has Apptainer in sid alone. Nothing is started or mounted there: enter.sh does that when it is used. USER will
# build images. Run by root; takes a minute and 400 MB. It appears whole or not at all.
set -euo pipefail
directory=$1 user=$2
building=$directory.$$
trap 'rm -rf --one-file-system "$building"' EXIT

# What mirrors answer depends on none of this machine's sources; sid's lists may be older than they say they are good for.
debootstrap --variant=minbase \
    --include=apptainer,ca-certificates,debootstrap,fakeroot,fuse-overlayfs,squashfs-tools,squashfuse,uidmap \
    sid "$building" ${OOD_TEST_DEBIAN_MIRROR:+"$OOD_TEST_DEBIAN_MIRROR"}

# Where enter.sh puts what is this machine's.
for place in /* /var/cache /var/lib/ood-runtime-tests /var/tmp; do
    if [ -d "$place" ] && [ ! -e "$building$place" ]; then mkdir -p "$building$place"; fi
done
for file in group hosts passwd resolv.conf; do : >>"$building/etc/$file"; done
mkdir "$building/nodes"
mknod -m 666 "$building/nodes/fuse" c 10 229
# Debian's own packages need more than one user's number to be unpacked.
echo "$user:1000000:65536" | tee "$building/etc/subuid" >"$building/etc/subgid"

rm -rf --one-file-system "$directory"
mv "$building" "$directory"
