"""What Jupyter and the PySpark kernel are started with: quoted, valid, and true to what it stands in for."""

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from traitlets.config import Config

from ood_runtime.render import render
from ood_runtime.secret import Secret
from tests.support.needs import need

REPOSITORY = Path(__file__).parent.parent.parent
ODD = '/tmp/it\'s "odd"\n$(touch x) {{ y }} \\ é'
HASH = "argon2:$argon2id$v=19$m=10240,t=10,p=8$c2FsdA$aGFzaA"

VALUES: dict[str, dict[str, object]] = {
    "jupyter_config.py.j2": {
        "ip": "127.0.0.1",
        "port": 12345,
        "base_url": "/node/h/12345/",
        "password_hash": Secret(HASH),
        "root_dir": ODD,
        "allow_origin": "",
        "kernel_transport": "ipc",
        "terminal_command": [ODD, "-l"],
        "workspaces_dir": ODD,
        "default_url": "/lab",
        "extra_config": None,
        "allow_root": False,
        "certfile": ODD,
        "keyfile": ODD,
        "tiles": {ODD: {"port": 1}},
    },
    "jupyter_spark_ui.py.j2": {
        "name": "sparkui",
        "base": ODD,
        "address": "127.0.0.1",
        "port": 12345,
        "authorization": Secret("Bearer x"),
        "certificate": ODD,
    },
    "jupyter_server.py.j2": {"config": ODD, "interface": "lab", "lazy_imports": True, "pages": ODD},
    "pyspark_startup.py.j2": {"java": [ODD, "-cp", ODD], "warm": ODD, "log_dir": ODD, "drivers_dir": ODD},
    "pyspark_shared_startup.py.j2": {
        "port": 12345,
        "token": ODD,
        "status": ODD,
        "service": "spark-connect",
        "log": ODD,
    },
    "pyspark_kernel.sh.j2": {"python": ODD, "environment": {"PYTHONSTARTUP": ODD, "SPARK_HOME": ODD}},
}

# Whether each function of the module behaves as the real one, seen by a program that imports it as jsonschema does.
STAND_IN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("server", sys.argv[1])
server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server)
server.defer_rfc3987()
from rfc3987_syntax import is_valid_syntax
import jsonschema
assert "lark" not in sys.modules, "loaded too early"
check = jsonschema.FormatChecker()
checked = [check.conforms(value, "iri") for value in ("http://example.org/a", "http://[bad", "é", 5)]
assert "lark" in sys.modules
import rfc3987_syntax, rfc3987_syntax.utils
assert rfc3987_syntax is sys.modules["rfc3987_syntax"] and rfc3987_syntax.__file__.endswith("__init__.py")
assert is_valid_syntax(term="iri", value="a:b") and rfc3987_syntax.is_valid_syntax_iri("a:b")
assert set(jsonschema.FormatChecker.checkers) >= {"iri", "iri-reference"}
print(checked)
"""


def load(path: Path, template: str, **values: object) -> ModuleType:
    """The rendered Python program as a module, not run."""
    path.write_text(render(template, **(VALUES[template] | values)))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Config, Config], Config]:
    monkeypatch.setattr("gc.disable", lambda: None)
    pin: Callable[[Config, Config], Config] = load(tmp_path / "server.py", "jupyter_server.py.j2").pin
    return pin


@pytest.mark.parametrize("template", [name for name in VALUES if name.endswith(".py.j2")])
def test_odd_values_stay_values(template: str) -> None:
    tree = ast.parse(render(template, **VALUES[template]))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert ODD in constants


def test_the_kernels_script(tmp_path: Path) -> None:
    script = tmp_path / "pyspark_kernel.sh"
    script.write_text(render("pyspark_kernel.sh.j2", **VALUES["pyspark_kernel.sh.j2"]))
    # The odd value holds what looks like an expansion, and must not be one.
    subprocess.run([need("shellcheck"), "--exclude=SC2016", script], check=True)
    done = subprocess.run(["sh", script], capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert f"needs the Python {ODD}" in done.stderr


def test_the_kernels_script_gives_the_environment_and_the_arguments(tmp_path: Path) -> None:
    python, script = tmp_path / "py thon", tmp_path / "pyspark_kernel.sh"
    python.write_text('#!/bin/sh\nprintf "%s|" "$SPARK_HOME" "$PYTHONSTARTUP" "$@"\n')
    python.chmod(0o755)
    values = {"python": python, "environment": {"PYTHONSTARTUP": "/our/startup.py", "SPARK_HOME": ODD}}
    script.write_text(render("pyspark_kernel.sh.j2", **values))
    env = {"PATH": "/usr/bin:/bin", "PYTHONSTARTUP": "/the/users.py"}
    done = subprocess.run(["sh", script, "-f", "a b"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{ODD}|/the/users.py|/our/startup.py|-f|a b|"


def test_no_ipykernel_is_said_with_its_remedy(tmp_path: Path) -> None:
    startup = tmp_path / "pyspark_startup.py"
    startup.write_text(render("pyspark_startup.py.j2", **VALUES["pyspark_startup.py.j2"]))
    done = subprocess.run([sys.executable, "-S", startup], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{sys.executable} -m pip install ipykernel" in done.stderr


def test_the_stand_in_is_like_the_real_module(tmp_path: Path) -> None:
    pytest.importorskip("rfc3987_syntax")
    server = tmp_path / "server.py"
    server.write_text(render("jupyter_server.py.j2", **VALUES["jupyter_server.py.j2"]))
    done = subprocess.run([sys.executable, "-c", STAND_IN, server], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[True, False, False, True]\n", "")


def test_pins_win_in_every_form_and_the_rest_stays(pin: Callable[[Config, Config], Config]) -> None:
    ours = Config({"ServerApp": {"port": 1, "root_dir": "/r", "terminado_settings": {"shell_command": ["sh", "-l"]}}})
    ours.PasswordIdentityProvider.token = ""
    theirs = Config({"ServerApp": {"port": 2, "preferred_dir": "/etc", "PasswordIdentityProvider": {"token": "t"}}})
    theirs.ServerApp.tornado_settings = {
        "xsrf_cookies": False,
        "headers": {"Access-Control-Allow-Origin": "*", "A": "b"},
    }
    theirs.ServerApp.terminado_settings = {"shell_command": ["zsh"]}
    theirs.LabApp.ServerApp.port = 3
    theirs.IdentityProvider.token = "t"
    theirs.FileContentsManager.delete_to_trash = False
    pinned = pin(theirs, ours)
    assert pinned == {
        "ServerApp": {
            "port": 1,
            "root_dir": "/r",
            "tornado_settings": {"headers": {"A": "b"}},
            "terminado_settings": {"shell_command": ["zsh"]},
        },
        "PasswordIdentityProvider": {"token": ""},
        "LabApp": {"ServerApp": {}},
        "FileContentsManager": {"delete_to_trash": False},
    }


def test_the_telling_line_of_a_java_error(tmp_path: Path) -> None:
    startup = load(tmp_path / "startup.py", "pyspark_startup.py.j2")
    error = ValueError("An error occurred while calling None.X.\n: java.io.IOException: no\n\tat y")
    assert startup.words(error) == "ValueError: java.io.IOException: no"


def test_the_kernelspec_starts_the_sessions_script(tmp_path: Path) -> None:
    spec = json.loads((REPOSITORY / "kernelspecs/pyspark/kernel.json").read_text())
    argv = [part.replace("{connection_file}", "/a b") for part in spec["argv"]]
    script = tmp_path / "it's a kernel.sh"
    script.write_text('printf "%s|" "$@"\n')
    env = {"PATH": "/usr/bin:/bin"}
    outside = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert outside.returncode != 0 and "start this kernel from an ood-runtime session" in outside.stderr
    env["OOD_RUNTIME_PYSPARK_KERNEL"] = str(script)
    assert subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout == "-f|/a b|"
