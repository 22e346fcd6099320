"""What is said of kernels that do not work when they are started; those that do are started by integration tests."""

import sys
from pathlib import Path

from ood_runtime import kernel_check, kernel_folders
from ood_runtime.kernel_folders import Folder
from ood_runtime.kernelspecs import Kernel
from ood_runtime.settings.environment import Environment


def test_why_a_kernel_does_not_work(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho the licence is over >&2\nexit 7\n")
    program.chmod(0o755)
    loads = Environment(shell=f"PATH={program.parent}:$PATH")
    kernel = Kernel("environment", "own", loads, "python", "python3", "3.12")
    folder = Folder(tmp_path / "kernels")
    kernel_folders.write(folder, [kernel])
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    (checked,) = kernel_check.check(folder, [kernel.directory], Path(sys.executable), 60, environment)
    assert not checked.works
    first, *said = checked.why.splitlines()
    assert first == "Kernel died before replying to kernel_info"
    assert said == ["the licence is over"]
    (checked,) = kernel_check.check(folder, ["x"], tmp_path / "nothing", 60, environment)
    assert checked.why.startswith(f"{tmp_path}/nothing cannot be run")
