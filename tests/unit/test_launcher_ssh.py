"""Machines without a scheduler, by a list of hosts and ssh."""

import os
import subprocess
from pathlib import Path

import pytest

from ood_runtime import launchers
from ood_runtime.errors import MissingError, SettingsError
from ood_runtime.launchers.ssh import LAUNCHER
from ood_runtime.settings import Settings, load
from ood_runtime.settings.model import Ssh
from tests.support.needs import need
from tests.unit.launcher_jobs import SCRIPT, on_a_node, tasks, with_program

OWN = os.uname().nodename


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of known size."""
    on_a_node(monkeypatch)


def settings(*hosts: str) -> Settings:
    return Settings(ssh=Ssh(hosts=list(hosts)))


def test_only_when_asked_for() -> None:
    assert launchers.choose("ssh", {}) is LAUNCHER
    assert launchers.choose(None, {}).name == "local"


def test_this_machine_is_the_first(tmp_path: Path) -> None:
    for hosts in (("n1", "n2", "n1"), ("n1", OWN, "n2"), (f"{OWN}.cluster", "n1", "n2")):
        given = LAUNCHER.allocation({}, tmp_path, settings(*hosts))
        assert [node.host.partition(".")[0] for node in given.nodes] == [OWN.partition(".")[0], "n1", "n2"]
        assert (given.launcher, given.job_id, given.directory) == ("ssh", "", tmp_path)


def test_without_hosts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ssh\.hosts is empty") as caught:
        LAUNCHER.allocation({}, tmp_path, Settings())
    assert "set ssh.hosts" in caught.value.remedy


def test_hosts_from_the_environment_and_what_is_no_host() -> None:
    site = {"OOD_RUNTIME_SITE_CONFIG": "/dev/null"}
    assert load([], [], {**site, "OOD_RUNTIME_SSH__HOSTS": "[n1, n2.cluster]"}).settings.ssh.hosts == [
        "n1",
        "n2.cluster",
    ]
    for host in ("-oProxyCommand=x", "n1 n2", "me@n1", ""):
        with pytest.raises(SettingsError, match=r"ssh\.hosts"):
            load([], [f"ssh.hosts=['{host}']"], site)


def test_one_ssh_for_each_rank(tmp_path: Path) -> None:
    env = {"PATH": with_program(tmp_path / "bin", "ssh")}
    launches = LAUNCHER.commands(LAUNCHER.allocation({}, tmp_path, settings("n1")), SCRIPT, tasks(2, 2, [1]), env)
    assert [launch.ranks for launch in launches] == [(2,), (3,)]
    first, *options, end, host, command = launches[0].argv
    assert (first, end, host) == (f"{tmp_path}/bin/ssh", "--", "n1")
    assert {"-n", "-tt", "-oBatchMode=yes"} <= set(options)
    assert command.endswith(" 2")


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_what_the_other_side_runs(tmp_path: Path, shell: str) -> None:
    """The user's login shell reads the command; the script keeps the terminal open (descriptor 9)."""
    program = need(shell)
    script = tmp_path / 'it\'s $HOME\n; "worker".sh'
    script.write_text('exec >out </dev/null; echo "$# $1 $$"; echo terminal >&9')
    env = {"PATH": with_program(tmp_path / "bin", "ssh")}
    given = LAUNCHER.allocation({}, tmp_path, settings("n1"))
    (launch,) = LAUNCHER.commands(given, script, tasks(7, 1, [1]), env)
    with subprocess.Popen([program, "-c", launch.argv[-1]], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == "terminal\n"
    assert (tmp_path / "out").read_text() == f"1 7 {process.pid}\n"  # the same process: nothing stands between


def test_the_options_are_known_to_the_real_ssh(tmp_path: Path) -> None:
    ssh = need("ssh")
    given = LAUNCHER.allocation({}, tmp_path, settings("n1"))
    (launch,) = LAUNCHER.commands(given, SCRIPT, tasks(1, 1, [1]), {"PATH": str(Path(ssh).parent)})
    done = subprocess.run([ssh, "-G", *launch.argv[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"batchmode yes", "requesttty force", "hostname n1"} <= set(done.stdout.splitlines())


def test_without_ssh(tmp_path: Path) -> None:
    given = LAUNCHER.allocation({}, tmp_path, settings("n1"))
    with pytest.raises(MissingError, match="ssh, which starts the workers on the other nodes, is not on PATH"):
        LAUNCHER.commands(given, SCRIPT, tasks(1, 1, [1]), {"PATH": "/nowhere"})
    assert LAUNCHER.commands(given, SCRIPT, (), {"PATH": "/nowhere"}) == ()
