#!/bin/sh
# Runs a program with the software of another Debian, made by root.sh, and all else of this machine: ROOT PROGRAM ...
#
# In a mount namespace of its own, made in a user namespace by whoever is not root: nothing has to be unmounted, whatever
# happens. PROGRAM has the caller's process, environment, user and directory, as `apptainer` in /usr/bin would.
set -eu

if [ "${1-}" != --inside ]; then
    if [ "$(id -u)" -eq 0 ]; then exec unshare --mount -- "$0" --inside "$@"; fi
    exec unshare --user --map-current-user --keep-caps --mount -- "$0" --inside "$@"
fi
root=$2
shift 2
here=$(pwd -P)

mount --rbind "$root" "$root"
# What is not the other Debian's: everything outside of /usr, /etc and what is linked there.
for place in /dev /home /opt /proc /root /run /srv /sys /tmp /var/cache /var/lib/ood-runtime-check /work; do
    [ -d "$place" ] && [ -d "$root$place" ] || continue
    mount --rbind "$place" "$root$place"
done
for file in group hosts passwd resolv.conf; do
    [ ! -e "/etc/$file" ] || mount --bind "$(readlink -f "/etc/$file")" "$root/etc/$file"
done
# As every distribution has it, and a bare machine may not.
if [ -e "$root/nodes/fuse" ]; then mount --bind "$root/nodes/fuse" "$root/dev/fuse"; fi
cd "$root"
pivot_root . mnt
umount -l /mnt
cd "$here"

export PATH="/usr/bin:/bin:/usr/sbin:/sbin:$PATH"
if [ "$(id -u)" -eq 0 ]; then exec "$@"; fi
exec setpriv --inh-caps=-all --ambient-caps=-all -- "$@"
