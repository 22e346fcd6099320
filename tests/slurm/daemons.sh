# shellcheck shell=bash disable=SC2154
# Slurm's daemons of a machine; sourced by machine.sh, which has set state, name and here.
mkdir -m 755 /run/munge
munged --foreground --num-threads=2 --key-file="$state/munge.key" --pid-file=/run/munge/munged.pid \
    --seed-file=/run/munge/munged.seed --log-file=/run/munge/munged.log &
until [ -S /run/munge/munge.socket.2 ]; do
    sleep 0.02
done
if [ "$name" = head ]; then
    slurmctld -D &
else
    slurmd -D -N "$name" &
fi
