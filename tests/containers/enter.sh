#!/bin/sh
# Runs a program of another Debian, which root.sh has made, on this machine: ROOT PROGRAM [ARGUMENT ...]
#
# It is in a mount namespace of its own: /usr, /etc and the like are the other Debian's, all else is this machine's. What
# is mounted there ends with the program, whatever happens. PROGRAM takes the place of this script, with the caller's user,
# environment and directory, as if it were installed here. Whoever is not root makes a user namespace for that.
set -eu
export PATH="/usr/bin:/bin:/usr/sbin:/sbin:$PATH"

if [ "${1-}" != --inside ]; then
    if [ "$(id -u)" -eq 0 ]; then exec unshare --mount -- "$0" --inside "$@"; fi
    exec unshare --user --map-current-user --keep-caps --mount -- "$0" --inside "$@"
fi
root=$2
shift 2
here=$(pwd -P)

mount --rbind "$root" "$root"
for place in /* /var/cache /var/lib/ood-runtime-tests /var/tmp; do
    case $place in /bin | /etc | /lib | /lib?? | /mnt | /sbin | /usr | /var) continue ;; esac
    if [ -d "$place" ] && [ -d "$root$place" ]; then mount --rbind "$place" "$root$place"; fi
done
for file in group hosts passwd resolv.conf; do
    mount --bind "$(readlink -f "/etc/$file")" "$root/etc/$file"
done
# Of /usr and /etc, what is to be seen under its own name: that is where programs on this machine look for it, too.
while read -r place; do mount --bind "$place" "$root$place"; done <"$root/nodes/own"
# Closed to users on a bare machine; every distribution opens it.
if [ -e "$root/nodes/fuse" ]; then mount --bind "$root/nodes/fuse" "$root/dev/fuse"; fi
cd "$root"
# What is this machine's own of the rest stays below /mnt.
pivot_root . mnt
cd "$here"

if [ "$(id -u)" -eq 0 ]; then exec "$@"; fi
# The rights in the namespace were for mounting.
exec setpriv --inh-caps=-all --ambient-caps=-all -- "$@"
