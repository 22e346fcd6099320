"""A real JupyterLab in a real batch job, as Open OnDemand submits it: used from elsewhere, ended in many ways."""

from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.sessions import JobSession, start
from tests.support.jupyter import log_in
from tests.support.session_of_two import Watcher

pytestmark = [pytest.mark.root, pytest.mark.integration]

ARGUMENTS = ()
# How a job script may run it.
EXEC, TRAP = "exec {start}", '{start} &\ntrap "kill $!" TERM\nwait $!\nwait $!'
# Such a script ends at Slurm's signal, which with cgroups only the script gets, and then Slurm kills what is left.
CHILD, BACKGROUND = "{start}\nexit $?", "{start} &\nwait $!"
WALLTIME_WITHIN = 100.0  # seconds; slurmctld looks every 30 s


def jupyter(cluster: Cluster, *options: str, script: str = EXEC) -> JobSession:
    return start(cluster, "jupyter", *ARGUMENTS, options=options, script=script)


def test_a_notebook_on_a_node_from_the_login_node(cluster: Cluster) -> None:
    with Watcher() as watcher:
        session = jupyter(cluster)
        connection = session.connection()
        assert connection["host"] == session.job.facts()["BatchHost"]
        with cluster.network():
            client = log_in(connection)
            code = "import os; os.uname().nodename, os.environ['SLURM_JOB_ID']"
            assert client.run(client.start_kernel("python3"), code) == str((connection["host"], session.job.id))
            client.close()
        session.assert_told_nobody()
        session.job.cancel()
        assert session.job.wait() == "CANCELLED"
    session.assert_gone()
    assert any("jupyter_server.py" in line for line in watcher.seen)
    assert not [line for line in watcher.seen for secret in session.secrets() if secret in line]


@pytest.mark.parametrize("script", [EXEC, TRAP, CHILD, BACKGROUND], ids=["exec", "trap", "child", "background"])
def test_scancel(cluster: Cluster, script: str) -> None:
    session = jupyter(cluster, script=script)
    session.connection()
    session.job.cancel()
    assert session.job.wait() == "CANCELLED"
    session.assert_gone(killed=script in (CHILD, BACKGROUND))


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_signal_to_all_processes(cluster: Cluster, signal: str) -> None:
    session = jupyter(cluster)
    session.connection()
    session.job.cancel("--full", f"--signal={signal}")
    session.job.wait()
    session.assert_gone()


def test_a_signal_to_the_batch_script_only(cluster: Cluster) -> None:
    session = jupyter(cluster)
    session.connection()
    session.job.cancel("--batch", "--signal=TERM")
    session.job.wait()
    session.assert_gone()


@pytest.mark.parametrize("options", ["--full --signal=KILL", "--batch --signal=KILL"])
def test_killed(cluster: Cluster, options: str) -> None:
    session = jupyter(cluster)
    session.connection()
    session.job.cancel(*options.split())
    session.job.wait()
    session.assert_gone(killed=True)


def test_the_job_script_ends_before_the_session(cluster: Cluster) -> None:
    session = jupyter(cluster, script="{start} &\nuntil [ -e leave ]; do sleep 0.1; done")
    session.connection()
    (session.job.directory / "leave").touch()
    assert session.job.wait() == "COMPLETED"
    session.assert_gone(killed=True)


def _knows_its_end(session: JobSession) -> bool | None:
    """Debian's Slurm does not tell it in the environment: the controller is asked, when the session is ready."""
    end = datetime.fromisoformat(session.job.facts()["EndTime"])
    return session.status()["ends_at"] == end.timestamp() or None


def test_walltime(cluster: Cluster) -> None:
    """With a signal ahead of it, and without."""
    told, untold = jupyter(cluster, "--signal=B:TERM@30"), jupyter(cluster)
    for session in (told, untold):
        session.connection()
        session.job.wait_for(partial(_knows_its_end, session), "word of the job's end", 10)
        session.job.end_at_walltime()
    for session in (told, untold):  # on one node, where what is left of one would be taken for the other's
        session.job.wait(WALLTIME_WITHIN)
    for session in (told, untold):
        session.assert_gone()
    assert untold.job.state() == "TIMEOUT"


def test_nothing_of_it_is_outside_of_the_job(cluster: Cluster) -> None:
    """Every process of a session is one that Slurm counts to the job.

    Not at once: its plug-in linuxproc cannot read the names with blanks that npm gives itself, and JupyterLab's
    language servers ask npm for a moment when the server starts.
    """
    session = jupyter(cluster)
    node = str(session.connection()["host"])
    session.job.wait_for(lambda: _all_inside(cluster, session, node), "every process to be counted to the job", 30)


def _all_inside(cluster: Cluster, session: JobSession, node: str) -> bool | None:
    listed = cluster.machines.check(["scontrol", "listpids", session.job.id], on=node)
    inside = {line.split()[0] for line in listed.splitlines()[1:]}
    pids = {_inner(pid) for pid in session.processes()[node]} - {None}
    return (bool(pids) and pids <= inside) or None


def _inner(pid: int) -> str | None:
    """Its pid on the node; None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1]
