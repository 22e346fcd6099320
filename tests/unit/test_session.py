"""The session directory: private, whole or not at all, for one session at a time, and cleared of what was killed."""

import fcntl
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ood_runtime import private_files, session
from ood_runtime.errors import SessionError
from ood_runtime.plan import File
from ood_runtime.private_files import write
from ood_runtime.session import Session

SECRET = File("spark/spark.conf", "spark.authenticate.secret x\n", secret=True)
SCRIPT = File("worker.sh", "#!/bin/sh\n", executable=True)
ODD_NAMES = ("a b", "it's", 'a "b"', "a\nb", "$HOME", "*", "-rf", "ü€😀", "\udcff", "#x", "x" * 255)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def everything_below(path: Path) -> list[Path]:
    return [Path(top, name) for top, directories, files in os.walk(path) for name in (*directories, *files)]


def test_all_that_is_made_is_private(root: Path, scratch: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    old = os.umask(0)
    try:
        with Session(root, "app", scratch, [disk]) as used:
            used.write([SECRET, SCRIPT], [root / "ood-runtime/spark/conf", used.directories.scratch / "spark/local"])
            places = used.directories
            (inside,) = scratch.iterdir()
            assert places.scratch == inside
            (local,) = disk.iterdir()
            assert places.local == (local,) and mode(local) == 0o700
            assert (root / "ood-runtime/spark/spark.conf").read_text() == SECRET.content
            assert (root / "ood-runtime/spark/conf").is_dir()
            for path in [root, inside, *everything_below(root), *everything_below(inside)]:
                executable = path.is_dir() or path.name == SCRIPT.name
                assert mode(path) == (0o700 if executable else 0o600), path
    finally:
        os.umask(old)
    assert not list(disk.iterdir())


def test_what_is_left_after_the_end(root: Path, scratch: Path) -> None:
    with Session(root, "app", scratch) as used:
        used.write([SECRET, SCRIPT])
        write(root / "connection.yml", "password: x")
        (used.directories.scratch / "shuffle").mkdir()
    assert not list(scratch.iterdir())
    assert not (root / "connection.yml").exists()
    assert not (root / "ood-runtime/spark/spark.conf").exists()
    assert (root / "ood-runtime/worker.sh").exists()
    assert not session.running(root)


def test_secrets_go_even_when_the_session_fails(root: Path, scratch: Path) -> None:
    with pytest.raises(ZeroDivisionError), Session(root, "app", scratch) as used:
        used.write([SECRET])
        _ = 1 / 0
    assert not (root / "ood-runtime/spark/spark.conf").exists()
    assert not list(scratch.iterdir())


def test_a_secret_is_listed_before_it_is_written(root: Path, scratch: Path) -> None:
    """A session that is killed between the two leaves nothing that the next one does not find."""
    used = Session(root, "app", scratch)
    with used:
        too_long = File("x" * 300, "y", secret=True)
        with pytest.raises(SessionError, match="File name too long"):
            used.write([SECRET, too_long])
        listed = json.loads((root / "ood-runtime/secrets.json").read_text())
        assert listed == [SECRET.name, too_long.name]


# --- one at a time ---


def test_a_second_session_in_the_same_directory(root: Path, scratch: Path) -> None:
    with Session(root, "app", scratch) as first:
        first.write([SECRET])
        write(root / "connection.yml", "x")
        with pytest.raises(SessionError, match="a session already runs in") as caught, Session(root, "app", scratch):
            pass
        assert "ood-runtime stop" in caught.value.remedy
        assert session.running(root)
        assert (root / "connection.yml").exists(), "the first session's connection stays"
        assert (root / "ood-runtime/spark/spark.conf").exists()
        assert first.directories.scratch.exists()
    with Session(root, "app", scratch):
        pass


def test_two_sessions_in_two_directories(tmp_path: Path, scratch: Path) -> None:
    with Session(tmp_path / "a", "app", scratch) as one, Session(tmp_path / "b", "app", scratch) as two:
        assert one.id != two.id
        assert one.directories.scratch != two.directories.scratch


def test_two_who_ask_whether_a_session_runs_do_not_see_each_other(root: Path, scratch: Path) -> None:
    with Session(root, "app", scratch):
        pass
    with (root / "ood-runtime" / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not session.running(root)


def test_asking_whether_a_session_runs_does_not_keep_one_from_starting(root: Path, scratch: Path) -> None:
    with Session(root, "app", scratch):
        pass
    asks_slowly = ["flock", "--shared", str(root / "ood-runtime" / "lock"), "sh", "-c", "echo; exec sleep 0.2"]
    with subprocess.Popen(asks_slowly, stdout=subprocess.PIPE) as asking:
        assert asking.stdout
        asking.stdout.readline()
        with Session(root, "app", scratch):
            pass


# --- what others may have planted ---


@pytest.mark.parametrize("permissions", [0o777, 0o707, 0o702, 0o1777])
def test_a_directory_that_everybody_can_write_to(root: Path, scratch: Path, permissions: int) -> None:
    root.mkdir()
    root.chmod(permissions)
    with pytest.raises(SessionError, match="is not a directory that only you can write to") as caught:
        Session(root, "app", scratch).__enter__()
    assert "chmod go-w" in caught.value.remedy
    assert not list(root.iterdir())


def test_a_directory_that_a_shared_group_can_write_to(
    root: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.mkdir()
    root.chmod(0o770)
    monkeypatch.setattr(private_files, "_private_group", lambda gid: False)
    with pytest.raises(SessionError, match="only you can write to"):
        Session(root, "app", scratch).__enter__()
    monkeypatch.setattr(private_files, "_private_group", lambda gid: True)
    with Session(root, "app", scratch):
        pass


def test_readable_by_others_is_no_reason_to_refuse(root: Path, scratch: Path) -> None:
    root.mkdir(mode=0o755)
    with Session(root, "app", scratch):
        assert mode(root) == 0o755
        assert mode(root / "ood-runtime") == 0o700


@pytest.mark.parametrize("name", [".", "ood-runtime", "logs"])
def test_a_link_in_the_place_of_a_directory(root: Path, scratch: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if name == ".":
        root.symlink_to(elsewhere)
    else:
        root.mkdir()
        (root / name).symlink_to(elsewhere)
    with pytest.raises(SessionError, match="only you can write to"):
        Session(root, "app", scratch).__enter__()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["lock", "session.json", "secrets.json", "spark/spark.conf"])
def test_a_link_in_the_place_of_a_file_is_not_followed(root: Path, scratch: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = root / "ood-runtime" / name
    path.parent.mkdir(parents=True, mode=0o700)
    path.symlink_to(victim)
    try:
        with Session(root, "app", scratch) as used:
            used.write([SECRET])
    except SessionError as error:
        assert name == "lock", error
    assert victim.read_text() == "mine"


def test_another_users_directory(root: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Session(root, "app", scratch):
        pass
    monkeypatch.setattr(os, "getuid", lambda: root.stat().st_uid + 1)
    with pytest.raises(SessionError, match="only you can write to"):
        Session(root, "app", scratch).__enter__()
    with pytest.raises(SessionError, match="not a session directory of yours"):
        session.read_record(root)


def test_clearing_a_planted_directory_takes_nothing_of_ours(tmp_path: Path, scratch: Path) -> None:
    """What `ood-runtime stop` does in a directory of somebody else, who linked to a record of ours."""
    ours = tmp_path / "ours"
    with Session(ours, "app", scratch):
        precious = tmp_path / "precious"
        precious.write_text("mine")
        planted = tmp_path / "planted" / "ood-runtime"
        planted.mkdir(parents=True)
        (planted / "session.json").symlink_to(ours / "ood-runtime" / "session.json")
        (planted / "secrets.json").write_text(json.dumps([str(precious)]))
        (planted.parent).chmod(0o777)
        try:
            session.read_record(planted.parent)
            session.clear(planted.parent)
        except SessionError:
            pass
        assert precious.exists()


# --- places ---


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:20])
def test_odd_names_of_directories(tmp_path: Path, scratch: Path, name: str) -> None:
    root = tmp_path / name
    with Session(root, "app", scratch) as used:
        used.write([SECRET])
        assert session.running(root)
        assert session.read_record(root).id == used.id
    assert not session.running(root)


def test_directories_above_are_made_too(tmp_path: Path, scratch: Path) -> None:
    with Session(tmp_path / "a" / "b" / "c", "app", scratch):
        assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


@pytest.mark.parametrize("name", ["x" * 256, "/".join(["x" * 200] * 25)])
def test_a_name_that_is_too_long(tmp_path: Path, scratch: Path, name: str) -> None:
    with pytest.raises(SessionError, match=r"cannot use the session directory .*File name too long"):
        Session(tmp_path / name, "app", scratch).__enter__()


def test_a_file_in_the_place_of_the_directory(root: Path, scratch: Path) -> None:
    root.write_text("x")
    with pytest.raises(SessionError, match="File exists"):
        Session(root, "app", scratch).__enter__()


def test_scratch_space_that_is_gone(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="No such file"):
        Session(root, "app", tmp_path / "gone").__enter__()
    assert not session.running(root), "the lock is given back"


def test_sockets_have_a_short_path(root: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    with Session(root, "app", deep) as used:
        sockets = used.directories.sockets
        longest = os.fsencode(sockets / "jupyter" / "kernel-00000000-0000-0000-0000-000000000000-ipc-5")
        assert len(longest) <= 107
        assert sockets.parent == Path("/tmp")
        assert mode(sockets) == 0o700
    assert not sockets.exists()
    assert not list(deep.iterdir())


def test_a_full_disk_is_told_in_words(root: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with Session(root, "app", scratch) as used:
        monkeypatch.setattr(session, "write", full)
        with pytest.raises(SessionError, match="No space left on device") as caught:
            used.write([SECRET])
        assert "quota" in caught.value.remedy


def test_a_colon_in_the_path_is_refused_before_anything_is_made(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(SessionError, match="has a colon in its name"), Session(tmp_path / "a:b", "app", scratch):
        pass
    assert not (tmp_path / "a:b").exists()
