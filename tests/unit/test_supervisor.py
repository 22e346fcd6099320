"""The supervisor starts small real programs: their order, what they get, and how a start can fail."""

import shlex
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from ood_runtime.errors import MissingError, NotReadyError, OodRuntimeError, ServiceDiedError
from ood_runtime.plan import Plan
from ood_runtime.probes import Listening
from ood_runtime.status import Status
from ood_runtime.supervisor import PortLostError, Supervisor
from tests.unit.calls import InChild
from tests.unit.scene import STAY, Exists, Scene, nothing, service


def test_a_service_waits_for_those_that_it_comes_after(scene: Scene, in_child: InChild, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    services = [
        service("last", f"test -e {ready} && touch {ready}.last; {STAY}", after=("first",)),
        service("first", f"sleep 0.2; touch {ready}; {STAY}", ready=Exists(ready)),
    ]

    def scenario() -> list[str]:
        scene.run(services, nothing)
        return [f"{event['service']} {event['state']}" for event in scene.events if "service" in event]

    told = in_child(scenario)
    assert told.index("first ready") < told.index("last starting") < told.index("last ready")
    assert Path(f"{ready}.last").exists()


def test_others_start_side_by_side(scene: Scene, in_child: InChild, tmp_path: Path) -> None:
    """Each waits for the other: one after the other they would never be ready."""
    one, two = tmp_path / "one", tmp_path / "two"

    def meet(mine: Path, other: Path) -> str:
        return f"touch {mine}; while ! test -e {other}; do sleep 0.01; done; touch {mine}.met; {STAY}"

    services = [
        service("one", meet(one, two), ready=Exists(Path(f"{one}.met"))),
        service("two", meet(two, one), ready=Exists(Path(f"{two}.met"))),
    ]
    assert in_child(lambda: scene.run(services, lambda *_: True))


def test_what_a_service_gets(scene: Scene, in_child: InChild, tmp_path: Path) -> None:
    done = tmp_path / "done"
    script = f'echo "$PWD|$NEW|${{GONE-unset}}|$OOD_RUNTIME_SESSION"; echo error >&2; cat; touch {done}; {STAY}'
    wanted = service(
        "shown", script, environment={"NEW": "a 'b'", "GONE": None}, directory=tmp_path, ready=Exists(done)
    )
    scene.environment = {**scene.environment, "GONE": "still here", "OOD_RUNTIME_SESSION": "of another session"}
    identifier = in_child(lambda: scene.run([wanted], lambda running, status: status.id))
    log = scene.root / "logs" / "shown.log"
    assert log.read_text() == f"{tmp_path}|a 'b'|unset|{identifier}\nerror\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_service_inherits_no_descriptors_and_no_blocked_signals(
    scene: Scene, in_child: InChild, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    script = f"ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status; touch {done}; {STAY}"

    def scenario() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        scene.run([service("shown", script, ready=Exists(done))], nothing)

    in_child(scenario)
    count, blocked, ignored = (scene.root / "logs" / "shown.log").read_text().split("\n")[:3]
    assert int(count) == 4  # three, and the directory that ls reads
    assert int(blocked.split()[1], 16) == 0
    assert int(ignored.split()[1], 16) & 1 << signal.SIGTERM - 1 == 0


def test_one_that_dies_while_starting_ends_the_start_at_once(scene: Scene, in_child: InChild) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; echo; exit 7"
    never = service("slow", ready=Exists(Path("/nonexistent")), ready_seconds=60)
    began = time.monotonic()
    with pytest.raises(ServiceDiedError) as caught:
        in_child(lambda: scene.run([never, service("broken", script, ready=Exists(Path("/nonexistent")))], nothing))
    assert time.monotonic() - began < 5
    lines = caught.value.what.splitlines()
    assert lines[0] == "broken ended with exit status 7"
    assert [line.strip() for line in lines[1:]] == [f"| line {i}" for i in range(3, 11)]
    assert caught.value.log == str(scene.root / "logs" / "broken.log")
    assert caught.value.exit_status == 5


@pytest.mark.usefixtures("fast_backoff")
def test_one_with_restarts_that_dies_while_starting_ends_the_start_too(scene: Scene, in_child: InChild) -> None:
    broken = service("broken", "exit 1", ready=Exists(Path("/nonexistent")), restarts=3)
    with pytest.raises(ServiceDiedError):
        in_child(lambda: scene.run([broken], nothing))
    assert scene.states("broken").count("restarting") == 0
    events = (scene.root / "events.jsonl").read_text()
    assert "restarting" not in events


def test_one_that_is_killed_while_starting(scene: Scene, in_child: InChild) -> None:
    with pytest.raises(ServiceDiedError, match=r"broken ended with signal SIGKILL .*memory runs out"):
        in_child(lambda: scene.run([service("broken", "kill -9 $$", ready=Exists(Path("/nonexistent")))], nothing))


def test_one_that_is_not_ready_in_time(scene: Scene, in_child: InChild) -> None:
    slow = service(
        "slow", f"echo still loading; {STAY}", ready=Exists(Path("/nonexistent"), "no answer"), ready_seconds=0.3
    )
    with pytest.raises(NotReadyError) as caught:
        in_child(lambda: scene.run([slow], nothing))
    assert caught.value.what.startswith("slow was not ready after 0 s: no answer\n")
    assert "| still loading" in caught.value.what
    assert "timeouts.ready" in caught.value.remedy
    assert caught.value.exit_status == 4


def test_a_program_that_is_not_there(scene: Scene, in_child: InChild) -> None:
    with pytest.raises(MissingError, match="cannot start gone: /nonexistent/java: No such file"):
        in_child(lambda: scene.run([service("stays"), service("gone", argv=("/nonexistent/java",))], nothing))


def test_a_log_that_cannot_be_written(scene: Scene, in_child: InChild) -> None:
    """A link in its place, a full disk."""

    def scenario() -> None:
        def plant(running: Supervisor, status: Status) -> None:
            (scene.root / "logs" / "later.log").symlink_to("/dev/null")
            running.start(Plan(services=(service("later"),)))

        scene.run([service("stays")], plant)

    with pytest.raises(OodRuntimeError, match=r"later\.log"):
        in_child(scenario)


def test_a_port_that_another_program_took(scene: Scene, in_child: InChild) -> None:
    def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            scene.run([service("web", ready=Listening((port,)), ports=(port,))], nothing)

    with pytest.raises(PortLostError, match="another program listens on port"):
        in_child(scenario)


def test_a_service_that_dies_and_leaves_a_listener(scene: Scene, in_child: InChild, tmp_path: Path) -> None:
    """Its own child is nobody who took the port."""
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); print(1, flush=True); time.sleep(9)"

    def scenario() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        child = f'setsid {sys.executable} -c "{listen.format(port=port)}"'
        pipe = shlex.quote(str(tmp_path / "pipe"))
        script = f"mkfifo {pipe}; {child} >{pipe} & read line <{pipe}; exit 3"
        scene.run([service("web", script, ready=Exists(Path("/nonexistent")), ports=(port,))], nothing)

    with pytest.raises(ServiceDiedError, match="web ended with exit status 3"):
        in_child(scenario)


def test_a_service_that_ends_because_its_port_was_taken(scene: Scene, in_child: InChild) -> None:
    def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            scene.run([service("web", "exit 1", ready=Exists(Path("/nonexistent")), ports=(port,))], nothing)

    with pytest.raises(PortLostError, match="took a port of web"):
        in_child(scenario)


LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


def test_a_service_whose_grandchild_listens_is_ready(scene: Scene, in_child: InChild) -> None:
    def scenario() -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        argv = ("/bin/sh", "-c", '"$@"; true', "sh", sys.executable, "-S", "-c", LISTEN, str(port))
        scene.run([service("web", argv=argv, ready=Listening((port,)))], nothing)
        return scene.states("web")

    assert in_child(scenario) == ["starting", "ready", "stopping", "ended"]


def test_started_again_after_its_port_was_lost(scene: Scene, in_child: InChild) -> None:
    """The same supervisor starts another plan, as after a lost port."""

    def scenario() -> list[str]:
        def again(running: Supervisor, status: Status) -> None:
            running.stop()
            running.start(Plan(services=(service("web", f"echo second; {STAY}"),)))

        scene.run([service("web", f"echo first; {STAY}")], again)
        return scene.states("web")

    assert in_child(scenario).count("ready") == 2
