# shellcheck shell=bash disable=SC2154,SC2016
# Grid Engine's daemons of a machine; sourced by tests/slurm/machine.sh, which has set state and name.
export SGE_ROOT=/var/lib/gridengine SGE_CELL=default SGE_ND=1 # the last: stay in the foreground
engine=$state/engine
if [ "$name" = head ]; then
    install -d -o sgeadmin -g sgeadmin "$engine" "$engine"/{cell,spool} "$engine/cell/common" \
        "$engine"/spool/{execd,qmaster,qmaster/job_scripts,spooldb}
    install -m 644 -o sgeadmin -g sgeadmin /usr/share/gridengine/default-bootstrap "$engine/cell/common/bootstrap"
    echo head >"$engine/cell/common/act_qmaster"
    chown sgeadmin: "$engine/cell/common/act_qmaster"
fi
# In the place of what Debian's packages made for the machine beneath.
mount --bind "$engine/cell" /var/lib/gridengine/default
mount --bind "$engine/spool" /var/spool/gridengine
install -d -o sgeadmin -g sgeadmin /run/gridengine
if [ "$name" = head ]; then
    runuser -u sgeadmin -- /usr/share/gridengine/scripts/init_cluster "$SGE_ROOT" "$SGE_CELL" \
        /var/spool/gridengine/spooldb sgeadmin
    sge_qmaster &
    until qconf -sh >/dev/null 2>&1; do
        sleep 0.05
    done
    export EDITOR=${daemons%/*}/edit.sh
    # The user of the tests may be a system's user.
    CHANGES='s/^min_\(.\)id .*/min_\1id 0/' qconf -mconf
    CHANGES='s/^schedule_interval .*/schedule_interval 0:0:1/' qconf -msconf
    CHANGES='
        s/^slots .*/slots 999/
        s/^allocation_rule .*/allocation_rule $round_robin/
        s/^control_slaves .*/control_slaves TRUE/' qconf -ap spread
    while read -r _ host; do
        if [ "$host" != localhost ]; then
            qconf -ah "$host"
            qconf -as "$host"
        fi
    done <"$state/etc/hosts"
    CHANGES='
        s/^hostlist .*/hostlist node01 node02/
        s/^pe_list .*/pe_list spread/
        s/^load_thresholds .*/load_thresholds NONE/
        s/^slots .*/slots 4/' qconf -aq all.q
else
    sge_execd &
fi
