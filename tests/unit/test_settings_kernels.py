"""The settings of kernels: what would not do what it says is an error."""

from pathlib import Path

import pytest

from ood_runtime.errors import SettingsError
from ood_runtime.settings import load

ALONE = {"OOD_RUNTIME_SITE_CONFIG": "/dev/null", "HOME": "/nonexistent"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("environments: {x: {container: /a.sif}}", "kernels.environments.x"),
        ("mpi: {environment: {binds: [/data]}}", "kernels.mpi.environment"),
        ("venvs: [venvs/*]", "kernels.venvs"),
        ("modules: ['']", "kernels.modules"),
        ("programs: [perl]", "kernels.programs"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.yml"
    path.write_text(f"kernels: {{{text}}}\n")
    with pytest.raises(SettingsError, match=said):
        load((path,), (), ALONE)


def test_nothing_is_looked_for_unless_asked() -> None:
    assert not load((), (), ALONE).settings.kernels.wanted
    assert load((), ('kernels.modules=["python/*"]',), ALONE).settings.kernels.wanted
