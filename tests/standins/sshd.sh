# shellcheck shell=bash disable=SC2154
# The sshd of a machine; sourced by tests/slurm/machine.sh, which has set state.
mkdir /run/sshd
/usr/sbin/sshd -D -e -f "$state/etc/ssh/sshd_config" &
