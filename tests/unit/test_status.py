"""What a session tells about itself: status.json, events.jsonl, logs, and the lines that `start` shows."""

import io
import json
import os
import stat
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ood_runtime import logs, status
from ood_runtime.errors import MissingError, ServiceDiedError, SettingsError, collect
from ood_runtime.progress import Progress
from ood_runtime.status import ENDED, READY, STARTING, Status


@pytest.fixture
def state(tmp_path: Path) -> Status:
    return Status(tmp_path, "id", "jupyter", "node1")


def written(state: Status) -> dict[str, Any]:
    return dict(json.loads((state.directory / "status.json").read_text()))


def events(state: Status) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state.directory / "events.jsonl").read_text().splitlines()]


def test_every_change_is_written_and_one_event(state: Status) -> None:
    state.phase(STARTING, "starting")
    state.service("web", "starting", pid=7)
    state.service("web", "starting", pid=7)
    state.service("web", "starting", detail="soon")
    state.service("web", "ready", detail="")
    state.phase(READY, "ready")
    told = [(event["event"], event.get("state")) for event in events(state)]
    assert told == [("starting", None), *[("service", "starting")] * 2, ("service", "ready"), ("ready", None)]
    shown = written(state)
    assert (shown["state"], shown["version"]) == ("ready", 1)
    assert shown["ready_at"] >= shown["started_at"]
    (web,) = shown["services"]
    assert (web["state"], web["pid"], web["log"]) == ("ready", 7, "logs/web.log")
    for name in ("status.json", "events.jsonl"):
        assert stat.S_IMODE((state.directory / name).stat().st_mode) == 0o600


def test_ready_again_keeps_the_time(state: Status) -> None:
    state.phase(READY, "ready")
    first = state.ready_at
    state.phase(READY, "ready again")
    assert state.ready_at == first


def test_what_is_used_is_written_now_and_then_and_is_no_event(state: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(status, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    state.phase(READY, "ready")
    before = events(state)

    def used(cores: int, workers: int = 1) -> dict[str, Any]:
        return {"ready": 1, "wanted": 1, "each": ({"cores_used": cores},) * workers}

    def shown() -> int:
        return int((written(state)["workers"] or {"each": [{"cores_used": -1}]})["each"][0]["cores_used"])

    state.cluster(used(1), ({"name": "notebook"},))
    assert shown() == -1, "just written"
    now += 3
    state.cluster(used(1), ({"name": "notebook"},))
    assert (shown(), written(state)["applications"]) == (1, [{"name": "notebook"}])
    inode = (state.directory / "status.json").stat().st_ino
    now += 100
    state.cluster(used(1), ({"name": "notebook"},))
    assert (state.directory / "status.json").stat().st_ino == inode, "nothing has changed"
    state.cluster(used(2, workers=1000), ())
    now += 5
    state.cluster(used(3, workers=1000), ())
    assert shown() == 2, "a long list is written less often"
    now += 20
    state.cluster(used(3, workers=1000), ())
    assert shown() == 3
    assert events(state) == before


def test_a_failure_is_told_in_full(state: Status) -> None:
    state.fail(ServiceDiedError("web died", remedy="look", log="/x"))
    shown = written(state)
    assert shown["error"] == {"what": "web died", "remedy": "look", "log": "/x", "exit_status": 5}
    assert (shown["state"], shown["message"]) == ("failed", "web died")
    assert shown["ended_at"]


def test_a_full_disk_does_not_end_a_session(state: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    heard: list[dict[str, Any]] = []
    state.listeners.append(lambda status, event: heard.append(event))
    with monkeypatch.context() as patched:
        patched.setattr(status, "write", full)
        state.phase(READY, "ready")
    assert heard == [{"event": "ready", "message": "ready"}]
    state.phase(ENDED, "ended")
    assert written(state)["state"] == "ended"


@pytest.mark.parametrize("name", ["status.json", "events.jsonl"])
def test_planted_links_are_not_followed(state: Status, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / name).symlink_to(victim)
    state.phase(READY, "ready")
    assert victim.read_text() == "mine"


# --- the lines of `start` ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, state: Status) -> str:
    state.listeners.append(Progress(stream))
    state.phase(STARTING, "starting jupyter on node1")
    state.notice("java 25 is new")
    state.service("builder", "waiting", background=True)
    state.service("web", "starting", pid=7, detail="port 1 is not open yet")
    state.service("web", "ready", detail="")
    state.phase(READY, "ready: http://x")
    state.service("builder", "failed")
    state.service("web", "restarting", detail="signal SIGKILL")
    state.phase("stopping", "ending: signal SIGTERM")
    state.service("web", "stopping")
    state.phase(ENDED, "ended: signal SIGTERM")
    return stream.getvalue()


def test_a_jobs_output_gets_one_plain_line_for_each_phase(state: Status) -> None:
    lines = [line.split("] ")[1] for line in shown(io.StringIO(), state).splitlines()]
    assert lines == [
        "starting jupyter on node1",
        "note: java 25 is new",
        "web ready",
        "ready: http://x",
        "web restarting: signal SIGKILL",
        "ending: signal SIGTERM",
        "ended: signal SIGTERM",
    ]


def test_a_terminal_gets_a_line_that_changes(state: Status) -> None:
    text = shown(Terminal(), state)
    assert text.count("\r\x1b[K") == 2
    assert "web ✓" in text
    assert "builder" not in text
    assert "\nood-runtime [" in text, "the line that changes is ended before the next one"


def test_a_stream_that_has_gone_away(state: Status) -> None:
    stream = io.StringIO()
    state.listeners.append(Progress(stream))
    stream.close()
    state.phase(READY, "ready")

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Progress(Broken())(state, {"event": READY, "message": "x"})


# --- logs ---


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 50000 + b"\n" + b"\n".join(b"line %d  " % i for i in range(20)) + b"\n\n \n\xff\n")
    assert logs.tail(path, 3) == ["line 18", "line 19", "\ufffd"]
    assert logs.tail(path)[0] == "line 13"
    assert logs.tail(tmp_path / "gone") == []
    path.write_bytes(b"")
    assert logs.tail(path) == []


def test_a_log_is_appended_to_and_private(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"one", b"two"):
        descriptor = logs.create(path)
        os.write(descriptor, text)
        os.close(descriptor)
    assert path.read_bytes() == b"onetwo"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(OSError, match="symbolic links"):
        logs.create(path)


# --- errors ---


def test_several_errors_become_one() -> None:
    one, two = MissingError("no Java", remedy="load java"), SettingsError("bad key")
    assert collect([one]) is one
    both = collect([one, two])
    assert (both.what, both.exit_status) == ("no Java\n    load java\nbad key", 3)
