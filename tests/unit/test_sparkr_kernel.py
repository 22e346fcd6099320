"""The SparkR kernel: a real R with its real kernel, and a stand-in for SparkR, which no package registry has.

The stand-in is a package of R of that name with one function. It lacks everything that SparkR does.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ood_runtime import kernel_check, spark_r
from ood_runtime.kernel_folders import Folder
from ood_runtime.plan import Part
from ood_runtime.spark_home import Spark
from tests.golden.test_plans import context
from tests.support.needs import need, need_r_package

NAMESPACE = "export(sparkR.session)\n"
DESCRIPTION = """Package: SparkR
Version: 4.0.0
Title: Stand-in
Description: None.
License: MIT
Author: x
Maintainer: x <x@x>
"""


@pytest.fixture
def spark(tmp_path: Path) -> Path:
    """A Spark with the stand-in where SparkR is."""
    source = tmp_path / "source" / "SparkR"
    (source / "R").mkdir(parents=True)
    (source / "DESCRIPTION").write_text(DESCRIPTION)
    (source / "NAMESPACE").write_text(NAMESPACE)
    (source / "R" / "session.R").write_text('sparkR.session <- function() cat("a session\\n", file = stderr())\n')
    library = tmp_path / "spark" / "R" / "lib"
    library.mkdir(parents=True)
    subprocess.run(
        [need("R"), "CMD", "INSTALL", "--no-docs", "--no-test-load", f"--library={library}", source],
        check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path / "spark"


def planned(home: Path) -> tuple[Part, dict[str, str]]:
    scene = context()
    software = scene.software.spark
    assert software
    found = replace(software, spark=Spark(home, "4.0.1", "2.13", ()))
    scene = replace(scene, software=replace(scene.software, spark=found))
    return spark_r.notebook_kernel(scene), spark_r.environment(scene)


def test_a_spark_without_it_has_no_kernel(tmp_path: Path) -> None:
    part, environment = planned(tmp_path)
    assert part == Part()
    assert set(environment) == {"R_PROFILE"}


def test_it_starts_and_has_a_session(spark: Path, tmp_path: Path) -> None:
    need_r_package("IRkernel")
    part, environment = planned(spark)
    assert environment["OOD_RUNTIME_SPARKR_KERNEL"].endswith("/sparkr_kernel.sh")
    for file in part.files:
        path = tmp_path / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content if isinstance(file.content, bytes) else file.content.encode())
    subprocess.run([need("shellcheck"), tmp_path / "sparkr_kernel.sh"], check=True)
    session = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "R_LIBS": str(spark / "R" / "lib"),
        "OOD_RUNTIME_SPARKR_KERNEL": str(tmp_path / "sparkr_kernel.sh"),
    }
    folder = Folder(tmp_path / "jupyter" / "kernels")
    (checked,) = kernel_check.check(folder, ["sparkr"], Path(sys.executable), 60, session)
    assert checked.works, checked.why
    assert json.loads((folder.path / "sparkr" / "kernel.json").read_text())["display_name"] == "SparkR"
