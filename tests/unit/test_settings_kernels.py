"""The settings of kernels: what would not do what it says is an error."""

from dataclasses import replace
from pathlib import Path

import pytest

from ood_runtime import session_kernels
from ood_runtime.errors import SettingsError
from ood_runtime.settings import Settings, load
from tests.golden import kernel_contexts
from tests.golden.test_plans import context

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


def test_a_session_in_a_container_says_that_it_has_those_of_the_image() -> None:
    scene = kernel_contexts.found(context())
    kernels = scene.settings.kernels
    assert [service.name for service in session_kernels.found(scene).services] == ["kernels"]
    settings = Settings.model_validate({"kernels": kernels.model_dump(), "environment": {"container": "/x.sif"}})
    part = session_kernels.found(replace(scene, settings=settings))
    assert not part.services and not part.files
    assert "container" in part.notices[0]


def test_nothing_is_looked_for_unless_asked() -> None:
    assert not load((), (), ALONE).settings.kernels.wanted
    assert load((), ('kernels.modules=["python/*"]',), ALONE).settings.kernels.wanted
