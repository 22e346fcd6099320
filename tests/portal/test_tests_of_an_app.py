"""The tests that ``ood-runtime init`` writes into an app: they pass there, and notice who breaks its quoting."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ood_runtime.portal_app import APPS
from tests.portal.rendering import write_app
from tests.support.needs import need

# file, what stands there, what somebody makes of it, what the tests say
BROKEN = [
    ("submit.yml.erb", "  native:\n", "  accounting_id: <%= bc_account %>\n  native:\n", "submit.yml.erb: bc_account "),
    ("submit.yml.erb", "  native:\n", "  native:\n    - '--comment=<%= bc_account %>'\n", "submit.yml.erb: "),
    ("submit.yml.erb", "cores = whole.", "cores = hole.", "submit.yml.erb: NoMethodError"),
    (
        "template/settings.yml.erb",
        "<%= JSON.pretty_generate(settings) %>",
        'jupyter:\n  root_dir: "<%= context.working_dir %>"',
        "template/settings.yml.erb: ",
    ),
    ("template/before.sh", "\ntrap", "\necho $((\ntrap", "template/before.sh: "),
    ("view.html.erb", 'value="<%= h.call(value) %>"', 'value="<%= value %>"', "view.html.erb: a value becomes HTML"),
    ("view.html.erb", "</form>", "\n</form>", "view.html.erb: an empty line"),
    ("info.html.erb", "Note: <%= h.call(notice) %>", "Note: <%= notice %>", "info.html.erb: a value becomes HTML"),
    ("completed.html.erb", "h.call(remedy)", "remedy", "completed.html.erb: a value becomes HTML"),
    ("form.yml", "  - memory\n", "", "form.yml: attributes that are not below form: memory"),
]


def run(app: Path) -> tuple[int, str]:
    """Exit status and output of an app's own tests."""
    done = subprocess.run(
        [need("ruby"), "-W2", "tests/test_app.rb"], cwd=app, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("app", APPS)
def test_they_pass_in_an_app_as_it_was_written(tmp_path: Path, app: str) -> None:
    status, said = run(write_app(tmp_path / "my app", app, modules=("spark/4.0",), scheduler="gridengine"))
    assert status == 0, said
    assert said.endswith(": no fault\n")
    assert said.count("\n") == 1, said


@pytest.mark.parametrize(("name", "old", "new", "words"), BROKEN)
def test_they_notice_what_is_not_quoted(
    apps: dict[str, Path], tmp_path: Path, name: str, old: str, new: str, words: str
) -> None:
    app = tmp_path / "app"
    shutil.copytree(apps["jupyter-spark"], app)
    text = (app / name).read_text()
    assert old in text
    (app / name).write_text(text.replace(old, new))
    status, said = run(app)
    assert status == 1, said
    assert words in said


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("cd <%= context.working_dir %>", 1),
        ("cd '<%= context.working_dir %>'", 1),
        ('cd "<%= context.working_dir %>"', 1),
        ("cd <%= Shellwords.escape(context.working_dir) %>", 0),
    ],
)
def test_they_notice_what_becomes_shell(apps: dict[str, Path], tmp_path: Path, line: str, status: int) -> None:
    app = tmp_path / "app"
    shutil.copytree(apps["jupyter-spark"], app)
    before = app / "template" / "before.sh"
    before.rename(app / "template" / "before.sh.erb").write_text(f"{before.with_suffix('.sh.erb').read_text()}{line}\n")
    got, said = run(app)
    assert got == status, said
    assert ("template/before.sh.erb: working_dir becomes shell" in said) == bool(status)
