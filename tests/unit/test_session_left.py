"""What a killed session has left in its directory, and what others have put there."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ood_runtime import processes, session
from ood_runtime.errors import SessionError
from ood_runtime.plan import File
from ood_runtime.private_files import write
from ood_runtime.session import Session
from tests.unit.calls import Spawn, WaitUntil

SECRET = File("spark/spark.conf", "spark.authenticate.secret x\n", secret=True)


def killed_session(root: Path, scratch: Path, spawn: Spawn, wait_until: WaitUntil, tmp_path: Path) -> Path:
    """Leave what a session leaves that is killed with everything that could clear up; its scratch directory."""

    def work() -> int:
        used = Session(root, "app", scratch)
        used.__enter__()
        used.write([SECRET])
        write(root / "connection.yml", "x")
        left = {"OOD_RUNTIME_SESSION": used.id, "PATH": os.environ["PATH"]}
        subprocess.Popen(["sleep", "60"], env=left, start_new_session=True, close_fds=True)
        (root / "go").touch()
        signal.pause()
        return 0

    pid = spawn(work, tmp_path / "output")
    wait_until((root / "go").exists)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    (left,) = scratch.iterdir()
    return left


def test_what_a_killed_session_left_is_cleared(
    root: Path, scratch: Path, spawn: Spawn, wait_until: WaitUntil, tmp_path: Path
) -> None:
    left = killed_session(root, scratch, spawn, wait_until, tmp_path)
    record = session.read_record(root)
    assert processes.marked(record.id)
    assert not session.running(root)
    with Session(root, "app", scratch) as used:
        assert not processes.marked(record.id)
        assert not left.exists()
        assert not (root / "connection.yml").exists()
        assert not (root / "ood-runtime" / SECRET.name).exists()
        assert used.notices == [
            "ended 1 processes of the session that was killed in this directory",
            "erased the secrets of the session that was killed in this directory",
        ]


@pytest.mark.parametrize("change", [{"host": "othernode"}, {"boot": "another"}])
def test_a_session_that_was_killed_on_another_node(
    root: Path,
    scratch: Path,
    spawn: Spawn,
    wait_until: WaitUntil,
    tmp_path: Path,
    change: dict[str, str],
) -> None:
    """Its files are cleared; its processes and its scratch space are not on this node."""
    left = killed_session(root, scratch, spawn, wait_until, tmp_path)
    path = root / "ood-runtime" / "session.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | change))
    with Session(root, "app", scratch):
        (survivor,) = processes.marked(record["id"])
        assert left.exists()
        assert not (root / "connection.yml").exists()
        assert not (root / "ood-runtime" / SECRET.name).exists()
    os.kill(survivor, signal.SIGKILL)


def test_a_record_cannot_name_other_directories(root: Path, scratch: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    link = tmp_path / "ood-link"
    link.symlink_to(precious)
    shared = tmp_path / "ood-shared"
    shared.mkdir()
    shared.chmod(0o777)
    for directory in (precious, shared):
        (directory / "file").touch()
    with Session(root, "app", scratch):
        pass
    path = root / "ood-runtime" / "session.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"outside": [str(precious), str(shared), str(link), "/"]}))
    with Session(root, "app", scratch):
        pass
    assert (precious / "file").exists()
    assert (shared / "file").exists(), "another user may have put it there"


def test_a_foreign_connection_file_is_removed_and_told(root: Path, scratch: Path) -> None:
    root.mkdir()
    (root / "connection.yml").write_text("port: \n")
    with Session(root, "app", scratch) as used:
        assert not (root / "connection.yml").exists()
        assert len(used.notices) == 1
        assert "ood-runtime publish" in used.notices[0]


def test_a_foreign_connection_file_after_a_session_that_ended_in_order(root: Path, scratch: Path) -> None:
    with Session(root, "app", scratch):
        pass
    (root / "connection.yml").write_text("port: \n")
    with Session(root, "app", scratch) as used:
        assert "ood-runtime publish" in "".join(used.notices)
        assert "killed" not in "".join(used.notices)


def test_a_connection_file_that_is_a_link_is_removed_not_followed(root: Path, scratch: Path, tmp_path: Path) -> None:
    root.mkdir()
    (root / "connection.yml").symlink_to(tmp_path / "nowhere")
    with Session(root, "app", scratch):
        assert not (root / "connection.yml").is_symlink()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"id": 1}', '{"outside": 5}', "null", "\x00"])
def test_a_broken_record_is_an_error_in_words_and_no_obstacle(root: Path, scratch: Path, content: str) -> None:
    with Session(root, "app", scratch):
        pass
    (root / "ood-runtime/session.json").write_text(content)
    with pytest.raises(SessionError, match="cannot be read"):
        session.read_record(root)
    with Session(root, "app", scratch):
        pass


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '["../../../x"]',
        "[[]]",
        '{"a": 1}',
        "5",
        "null",
    ],
)
def test_a_broken_list_of_secrets_is_no_obstacle(root: Path, scratch: Path, content: str) -> None:
    with Session(root, "app", scratch):
        pass
    (root / "ood-runtime/secrets.json").write_text(content)
    with Session(root, "app", scratch):
        pass


def test_no_session_here(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no session in") as caught:
        session.read_record(tmp_path)
    assert "--session-dir" in caught.value.remedy
    assert not session.running(tmp_path)


def test_asking_to_stop(root: Path, scratch: Path) -> None:
    with Session(root, "app", scratch):
        assert not session.stop_asked(root)
        session.ask_to_stop(root)
        assert session.stop_asked(root)
    with Session(root, "app", scratch):
        assert not session.stop_asked(root), "what the last one was asked is not meant for this one"
