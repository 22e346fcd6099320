"""The bash that loads an environment, as text, and what shellcheck says of it."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ood_runtime.render import render
from ood_runtime.settings.environment import Environment
from tests.support.needs import need

_ALL = {
    "purge": True,
    "collection": "my collection",
    "modules": ["python/3.12"],
    "more_modules": ["it's mine"],
    "conda": "~/envs/my env",
    "venv": "/home/ada/a venv",
    "shell": "export A='b c'\nsource /apps/set-up.sh",
}
SCRIPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "load.sh.txt": ("environment_load.sh.j2", {"environment": _ALL}),
    "load-modules.sh.txt": ("environment_load.sh.j2", {"environment": {"modules": ["python/3.12", "spark/4.0"]}}),
    "names-conda.sh.txt": ("environment_names.sh.j2", {"what": "conda"}),
    "names-modules.sh.txt": ("environment_names.sh.j2", {"what": "modules"}),
    "terminal.sh.txt": ("terminal.sh.j2", {"names": ["LD_LIBRARY_PATH", "PATH"]}),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_those_that_were_reviewed(
    name: str, golden: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    template, given = SCRIPTS[name]
    values = {key: Environment.model_validate(value) if key == "environment" else value for key, value in given.items()}
    text = render(template, descriptor=3, **values)
    golden(f"environment/{name}", text)
    script = tmp_path / "script"
    script.write_text(text)
    done = subprocess.run(
        [need("shellcheck"), "--severity=style", "--shell=bash", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
