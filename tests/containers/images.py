"""The only place where tests get Apptainer and the images of singularity/: a real one, and built for real.

Both are kept in the cache of ./check. An image is built again when what it is made of has changed, but for our own
code: tests bind that over what is in the image, which so is as old as its definition, and as new as the code.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import class_data
from tests.standins import rserver
from tests.standins.rserver_options import Release
from tests.support.accounts import user_of_tests
from tests.support.needs import missing, need

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
SINGULARITY = REPOSITORY / "singularity"
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
# What docs/containers.md tells to bind, as Debian has it
OF_SLURM = (
    *("/usr/bin/srun", "/usr/bin/scontrol", f"{_LIBRARIES}/slurm-wlm", "/etc/slurm"),
    f"{_LIBRARIES}/libmunge.so.2",
)
BUILT_WITHIN = 1200.0  # seconds, on a slow network
_SITE_PACKAGES = "/opt/ood-runtime/lib/python3.13/site-packages"
# What sites and machines need to reach their registries; it comes in by the build argument `site`.
_REGISTRY = re.compile(r"PIP_\w+|SSL_CERT_FILE|https?_proxy|no_proxy")


@dataclass(frozen=True)
class Apptainer:
    """The ``program`` as users call it, and the words with which the user of the tests builds images."""

    program: Path
    builder: tuple[str, ...]

    @property
    def search(self) -> str:
        """A PATH with it."""
        return f"{self.program.parent}:/usr/local/bin:/usr/bin:/bin"


def cache() -> Path:
    """Where ./check keeps what takes long to make; for root only, who makes it."""
    place = os.environ.get("OOD_TEST_CACHE")
    if place is None:
        missing("needs OOD_TEST_CACHE, which ./check sets")
    return Path(place) / "containers"


def apptainer() -> Apptainer:
    """This machine's, or else Debian's in a root directory of its own, which is made first."""
    user = user_of_tests()
    become = ("setpriv", f"--reuid={user.name}", f"--regid={user.gid}", "--clear-groups", "--")
    found = shutil.which("apptainer")
    if found:
        return Apptainer(Path(found), (*become, found))
    need("debootstrap")
    root = cache() / "sid"
    if not root.exists():
        root.parent.mkdir(exist_ok=True)
        done = subprocess.run([HERE / "root.sh", root, user.name], capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"needs Apptainer: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    _show(root, OF_SLURM)
    enter = cache() / "enter.sh"  # the tree of the tests is closed to nobody, but goes away
    shutil.copy(HERE / "enter.sh", enter)
    program = cache() / "bin" / "apptainer"
    program.parent.mkdir(exist_ok=True)
    words = shlex.join([str(enter), str(root), "apptainer"])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    return Apptainer(program, (str(enter), str(root), *become, "apptainer"))


def _show(root: Path, places: Sequence[str]) -> None:
    """Make what this machine has of these places of /usr and /etc be seen in the other Debian: see enter.sh."""
    own = [place for place in places if Path(place).exists()]
    for place in own:
        point = root / place[1:]
        if Path(place).is_dir():
            point.mkdir(parents=True, exist_ok=True)
        elif not point.exists():
            point.touch()
    (root / "nodes" / "own").write_text("".join(f"{place}\n" for place in own))


def image(runtime: Apptainer, name: str, *arguments: str, more: str = "") -> Path:
    """The image of singularity/NAME.def, built now where it is not there; ``more`` is what else it depends on."""
    path = cache() / "images" / f"{name}.sif"
    stamp, recorded = _stamp(name, *arguments, more), path.with_suffix(".stamp")
    if path.exists() and recorded.exists() and recorded.read_text() == stamp:
        return path
    user = user_of_tests()
    building = cache() / "building"
    for place in (path.parent, building):
        place.mkdir(parents=True, exist_ok=True)
        os.chown(place, user.uid, user.gid)
    house = _house()
    command = [*runtime.builder, "build", "--fakeroot", "--force", "--notest", f"--bind={house}:/mnt"]
    command += ["--mksquashfs-args=-comp zstd -Xcompression-level 1"]  # a larger image, a minute sooner
    command += ["--build-arg", f"site={house / 'site.sh'}", *arguments, str(path), f"singularity/{name}.def"]
    environment = user.environment({"TMPDIR": str(building), "APPTAINER_TMPDIR": str(building)})
    with (cache() / f"{name}.log").open("w+") as log:
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            timeout=BUILT_WITHIN,
        )  # fmt: skip
        log.seek(0)
        assert done.returncode == 0, f"{shlex.join(command)}\n{log.read()[-6000:]}"
    recorded.write_text(stamp)
    return path


def rstudio_package(release: Release) -> Path:
    """A package like Posit's, with the stand-in for RStudio Server of this release."""
    path, name = cache() / "house" / f"rstudio-{'.'.join(map(str, release))}.deb", "usr/lib/rstudio-server"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as staging:
        root = Path(staging)
        programs = rserver.install(root / name, release)
        shutil.copytree(HERE.parent / "standins", root / name / "standin" / "tests" / "standins")
        for program in programs.iterdir():
            text = program.read_text().replace(str(root), "").replace(sys.executable, "/usr/bin/python3")
            program.write_text(text.replace(repr(str(REPOSITORY)), repr(f"/{name}/standin")))
        control = root / "DEBIAN" / "control"
        control.parent.mkdir()
        control.write_text("Package: rstudio-server\nVersion: 1\nArchitecture: all\nMaintainer: -\nDescription: -\n")
        root.chmod(0o755)
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, path], check=True, capture_output=True)
    return path


def newest_code() -> Mapping[str, str]:
    """The variable with which Apptainer shows the code of this tree in the place of the image's."""
    binds = (f"{REPOSITORY / name}:{_SITE_PACKAGES}/{name}" for name in ("ood_runtime", "kernelspecs"))
    return {"APPTAINER_BINDPATH": ",".join(binds)}


def _stamp(name: str, *arguments: str) -> str:
    # The class-data archives in the image are for this recipe.
    digest = hashlib.sha256(repr((name, arguments, class_data.RECIPE)).encode())
    for file in sorted({REPOSITORY / "pyproject.toml", *SINGULARITY.iterdir()} - {SINGULARITY / "README.md"}):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _house() -> Path:
    """What a build is given of this machine: how registries are reached, and Spark's package."""
    house = cache() / "house"
    house.mkdir(exist_ok=True)
    lines = ["export PIP_FIND_LINKS=/mnt"]
    for variable, value in os.environ.items():
        if not _REGISTRY.fullmatch(variable) or variable in ("PIP_FIND_LINKS", "PIP_CACHE_DIR"):
            continue
        certificates = value.startswith("/") and Path(value).is_file()
        if certificates:
            shutil.copy(value, house / variable)
        lines.append(f"export {variable}={shlex.quote(f'/mnt/{variable}' if certificates else value)}")
    (house / "site.sh").write_text("\n".join(lines) + "\n")
    pinned = re.search(r"(?m)^pyspark==(\S+)", (SINGULARITY / "constraints.txt").read_text())
    assert pinned, "singularity/constraints.txt names no pyspark"
    if not any(house.glob(f"pyspark-{pinned[1]}-*.whl")):
        pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", f"--wheel-dir={house}", pinned[0]]
        subprocess.run(pip, check=True, cwd="/")
    return house
