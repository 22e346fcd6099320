# shellcheck shell=bash disable=SC2154,SC2016
# OpenPBS' daemons of a machine; sourced by tests/slurm/machine.sh, which has set state, name and here.
programs=$(sed -n 's/^PBS_EXEC=//p' /etc/pbs.conf)
head=0 node=1
if [ "$name" = head ]; then head=1 node=0; fi
# In the place of what the machine beneath has; /run is private to each machine.
cat >"$here/pbs.conf" <<END
PBS_EXEC=$programs
PBS_HOME=/run/pbs
PBS_SERVER=head
PBS_START_SERVER=$head
PBS_START_SCHED=$head
PBS_START_COMM=$head
PBS_START_MOM=$node
END
mount --bind "$here/pbs.conf" /etc/pbs.conf
install -d -o postgres -g postgres /run/postgresql # where Debian's server has its socket
"$programs/libexec/pbs_habitat" # makes PBS_HOME
export PATH=$PATH:$programs/bin:$programs/sbin
if [ "$name" = head ]; then
    pbs_comm
    pbs_sched
    pbs_server
    qmgr -c 'set server job_history_enable = True'
    while read -r _ host; do
        if [ "$host" != localhost ] && [ "$host" != head ]; then
            qmgr -c "create node $host resources_available.ncpus=4,resources_available.mem=20gb"
        fi
    done <"$state/etc/hosts"
else
    # All machines see the same directories, so nothing has to be copied to the head.
    echo '$usecp *:/ /' >>/run/pbs/mom_priv/config
    pbs_mom
fi
