"""Where scratch space goes on the first node."""

from pathlib import Path

import pytest

from ood_runtime import scratch
from ood_runtime.errors import SettingsError


def test_scratch_space(tmp_path: Path) -> None:
    other, disk = tmp_path / "other", tmp_path / "disk"
    other.mkdir()
    disk.mkdir()
    job = {"TMPDIR": str(tmp_path), "DISK": str(disk)}
    assert scratch.base(None, job) == (tmp_path, [])
    assert scratch.base(None, job, ["/nonexistent", "$NOT_SET/x", "${DISK}"]) == (disk, [])
    assert scratch.base(None, job, ["/nonexistent"]) == (tmp_path, [])
    assert scratch.base(other, job, ["$DISK"]) == (other, [])
    assert scratch.base(None, {}) == (Path("/tmp"), [])


@pytest.mark.parametrize("named", ["/nonexistent", "relative", "/proc/self/status", "/tmp/a,b"])
def test_scratch_space_that_cannot_be_used(named: str) -> None:
    base, (notice,) = scratch.base(None, {"TMPDIR": named})
    assert base == Path("/tmp")
    assert notice.startswith(f"TMPDIR is {named}, which ")
    with pytest.raises(SettingsError, match=f"scratch_dir: {named} "):
        scratch.base(Path(named), {})


def test_more_disks(tmp_path: Path) -> None:
    one, open_to_all = tmp_path / "one", tmp_path / "open"
    one.mkdir()
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    good, notices = scratch.more(["$HERE/one", str(open_to_all), "$NOWHERE", "/nonexistent"], {"HERE": str(tmp_path)})
    assert good == [one]
    assert [notice.partition(": ")[2].partition(": not used")[0] for notice in notices] == [
        f"{open_to_all} is no safe place: everybody can write to {open_to_all}",
        "$NOWHERE has a variable in its name that is not set",
        "/nonexistent is no directory",
    ]
