"""A real JupyterLab and Notebook, started with our configuration, against a user's own that would undo it."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import psutil
import pytest
import requests

from ood_runtime.jupyter_home import Interface
from ood_runtime.passwords import jupyter_hash
from ood_runtime.render import render
from ood_runtime.secret import Secret
from tests.support.jupyter import Connection, JupyterClient, log_in, url_of
from tests.support.needs import need

pytestmark = pytest.mark.integration

PASSWORD = "gLetMeIn0123456789"
PORTAL = "https://portal.example.org"
EVIL = "evil"

# What a user's own configuration may hold, from an old tutorial. Each name stands for its own section.
HOSTILE: dict[str, dict[str, object]] = {
    "ServerApp": {
        "ip": "0.0.0.0",
        "port": 19999,
        "port_retries": 50,
        "base_url": "/evil/",
        "open_browser": True,
        "disable_check_xsrf": True,
        "allow_origin": "*",
        "allow_origin_pat": ".*",
        "allow_credentials": True,
        "allow_unauthenticated_access": True,
        "token": EVIL,
        "password_required": False,
        "allow_password_change": True,
        "sock": "/nonexistent/socket",
        "root_dir": "/",
        "preferred_dir": "/etc",
        "default_url": "/evil",
        "identity_provider_class": "jupyter_server.auth.identity.IdentityProvider",
        "tornado_settings": {
            "xsrf_cookies": False,
            "disable_check_xsrf": True,
            "allow_origin": "*",
            "headers": {
                "Access-Control-Allow-Origin": "*",
                "Content-Security-Policy": "frame-ancestors *",
                "X-Own": "kept",
            },
        },
        "PasswordIdentityProvider": {"token": EVIL},
    },
    "NotebookApp": {"token": EVIL, "password": "", "ip": "0.0.0.0", "disable_check_xsrf": True},
    "IdentityProvider": {"token": EVIL},
    "PasswordIdentityProvider": {"token": EVIL, "password_required": False},
    "KernelManager": {"transport": "tcp"},
    "LabApp": {"open_browser": True, "default_url": "/evil"},
}
FILES = ("jupyter_config", "jupyter_server_config", "jupyter_lab_config", "jupyter_notebook_config")


class Start(Protocol):
    def __call__(self, interface: Interface = "lab", *, wrapper: bool = False, **values: object) -> "Server": ...


class Server:
    """A Jupyter under test, and what connection.yml would say of it."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection, directory: Path) -> None:
        self.process, self.connection, self.directory = process, connection, directory

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(url_of(self.connection) + path, allow_redirects=False, timeout=60, **options)  # type: ignore[arg-type]

    def wait(self) -> "Server":
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            try:
                assert self.get("api").status_code == 200
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return self
        raise AssertionError(self.log())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "a home"
    (home / ".jupyter").mkdir(parents=True)
    return home


@pytest.fixture
def start(short_tmp: Path, home: Path) -> Iterator[Start]:
    running: list[Server] = []

    def start(interface: Interface = "lab", *, wrapper: bool = False, **values: object) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        base_url = f"/node/{socket.gethostname()}/{port}/"
        given = _values(short_tmp, interface, port, base_url) | values
        config, script = short_tmp / "jupyter_config.py", short_tmp / "jupyter_server.py"
        config.write_text(render("jupyter_config.py.j2", **given))
        started: dict[str, object] = {"interface": interface, "lazy_imports": True, "pages": None}
        script.write_text(render("jupyter_server.py.j2", config=str(config), **started))
        for name in ("runtime", "root"):
            (short_tmp / name).mkdir(mode=0o700, exist_ok=True)
        command: list[str] = (
            [need(f"jupyter-{interface}"), f"--config={config}"] if wrapper else [sys.executable, str(script)]
        )
        env = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        env |= {"HOME": str(home), "JUPYTER_RUNTIME_DIR": str(short_tmp / "runtime")}
        with (short_tmp / "log").open("wb") as log:
            process = subprocess.Popen(command, env=env, cwd=short_tmp / "root", stdout=log, stderr=subprocess.STDOUT)
        connection = {"host": "127.0.0.1", "port": port, "base_url": base_url, "password": PASSWORD}
        running.append(Server(process, connection | {"xsrf": "gXsrf0123"}, short_tmp))
        return running[-1]

    yield start
    for server in running:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(30)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def _values(directory: Path, interface: Interface, port: int, base_url: str) -> dict[str, object]:
    return {
        "ip": "127.0.0.1",
        "port": port,
        "base_url": base_url,
        "password_hash": jupyter_hash(Secret(PASSWORD), Secret("gSalt0123456789")),
        "root_dir": str(directory / "root"),
        "allow_origin": PORTAL,
        "kernel_transport": "ipc",
        "terminal_command": ["/bin/sh", "-l"],
        "workspaces_dir": str(directory / "workspaces"),
        "default_url": "/lab" if interface == "lab" else "/tree",
        "extra_config": None,
        "allow_root": os.geteuid() == 0,
        "certfile": "",
        "keyfile": "",
        "tiles": {},
    }


def write_hostile(home: Path, form: str) -> None:
    text = json.dumps(HOSTILE) if form == "json" else "".join(_python_lines("c", HOSTILE))
    for name in FILES:
        (home / ".jupyter" / f"{name}.{form}").write_text(text)


def _python_lines(section: str, own: Mapping[str, object]) -> Iterator[str]:
    for key, value in own.items():
        if isinstance(value, dict) and key[0].isupper():
            yield from _python_lines(f"{section}.{key}", value)
        else:
            yield f"{section}.{key} = {value!r}\n"


def assert_guarded(server: Server) -> JupyterClient:
    """Every promise about who may use the server; a client that may."""
    connection = server.connection
    client = log_in(connection)
    ports = psutil.Process(server.process.pid).net_connections()
    assert [at.laddr for at in ports if at.status == "LISTEN"] == [(connection["host"], connection["port"])]
    for params in ({}, {"token": EVIL}):
        assert server.get("api/contents", params=params).status_code == 403
    for password in ("", EVIL):
        with pytest.raises(AssertionError, match="401"):
            log_in(connection, password)
    login = url_of(connection) + "login"
    assert requests.post(login, data={"password": PASSWORD}, timeout=60).status_code == 403
    assert client.request("GET", "api/contents").status_code == 200
    assert client.http.post(url_of(connection) + "api/kernels", json={}, timeout=60).status_code == 403
    assert client.request("GET", "api/contents", headers={"Origin": "https://evil.example"}).status_code == 404
    answer = client.request("GET", "api/contents", headers={"Origin": PORTAL})
    assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    return client


@pytest.mark.parametrize("form", ["py", "json"])
@pytest.mark.parametrize("interface", ["lab", "notebook"])
def test_a_users_own_configuration_cannot_undo_ours(start: Start, home: Path, interface: Interface, form: str) -> None:
    write_hostile(home, form)
    server = start(interface).wait()
    client = assert_guarded(server)
    page = "lab" if interface == "lab" else "tree"
    assert server.get("").headers["Location"].startswith(server.connection["base_url"] + page)
    # What does no harm stays.
    assert client.request("GET", "api/status").headers["X-Own"] == "kept"


def test_a_broken_own_configuration_does_no_harm(start: Start, home: Path) -> None:
    (home / ".jupyter" / "jupyter_server_config.py").write_text("c.ServerApp.token = (\n")
    assert_guarded(start().wait())


def test_the_extra_configuration_is_weaker_than_ours(start: Start, short_tmp: Path) -> None:
    extra = short_tmp / "site's.py"
    extra.write_text(
        "c.ServerApp.token = 'evil'\nc.PasswordIdentityProvider.token = 'evil'\n"
        "c.ServerApp.tornado_settings = {'headers': {'X-Own': 'kept'}}\n"
    )
    server = start(extra_config=str(extra)).wait()
    client = assert_guarded(server)
    assert client.request("GET", "api/status").headers["X-Own"] == "kept"


@pytest.mark.parametrize("wrapper", [False, True])
def test_a_broken_extra_configuration_ends_the_start(start: Start, short_tmp: Path, wrapper: bool) -> None:
    (short_tmp / "extra.py").write_text("1 / 0\n")
    server = start(wrapper=wrapper, extra_config=str(short_tmp / "extra.py"))
    assert server.process.wait(60) != 0
    assert "cannot load the Jupyter configuration" in server.log()


def test_a_command_that_is_a_wrapper(start: Start, home: Path) -> None:
    (home / ".jupyter" / "jupyter_lab_config.py").write_text(
        "c.ServerApp.token = 'evil'\nc.ServerApp.allow_origin = '*'\nc.ServerApp.disable_check_xsrf = True\n"
    )
    server = start(wrapper=True).wait()
    assert_guarded(server)


def test_a_busy_port_ends_the_start(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = start(port=other.getsockname()[1])
        assert server.process.wait(60) != 0


def test_kernels_over_sockets(start: Start) -> None:
    server = start().wait()
    client = log_in(server.connection)
    first, second = client.start_kernel("python3"), client.start_kernel("python3")
    assert client.run(first, "x = 6 * 7; x") == "42"
    assert client.run(second, "'x' in globals()") == "False"
    client.request("POST", f"api/kernels/{first}/restart")
    assert client.run(first, "'x' in globals()") == "False"
    with pytest.raises(AssertionError, match="KeyboardInterrupt"):
        interrupted(client, first, "import time; print('in'); time.sleep(60)")
    sockets = list((server.directory / "runtime").glob("kernel-*-ipc-*"))
    assert len(sockets) == 10
    assert stat.S_IMODE((server.directory / "runtime").stat().st_mode) & 0o077 == 0
    # ipykernel's own pipe for output of forked children, which asks for a random key of 16 bytes.
    for kernel in psutil.Process(server.process.pid).children():
        ports = [at.laddr for at in kernel.net_connections() if at.status == "LISTEN"]
        assert len(ports) <= 1
        assert all(ip == "127.0.0.1" for ip, _ in ports)


def test_kernels_know_nothing_of_the_fast_start_and_terminals_are_login_shells(start: Start) -> None:
    server = start().wait()
    client = log_in(server.connection)
    kernel = client.start_kernel("python3")
    seen = client.run(
        kernel, "import gc, sys; (gc.isenabled(), gc.get_freeze_count(), 'rfc3987_syntax' in sys.modules)"
    )
    assert seen == "(True, 0, False)"
    assert str(server.directory) not in client.run(kernel, "sys.path")
    assert client.request("POST", "api/terminals").status_code == 200
    assert ["/bin/sh", "-l"] in [child.cmdline() for child in psutil.Process(server.process.pid).children()]


def test_language_servers_are_looked_for_when_a_page_asks(
    start: Start, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jupyter's own way starts R and npm with the server. Both are stand-ins that say only that they ran."""
    programs, said = short_tmp / "bin", short_tmp / "ran"
    programs.mkdir()
    for name in ("Rscript", "npm"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >> {said}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    client = log_in(start().wait().connection)
    assert client.run(client.start_kernel("python3"), "6 * 7") == "42"  # which takes longer than their start
    assert not said.exists()
    answer = client.request("GET", "lsp/status").json()
    assert "r-languageserver" in answer["specs"]
    assert "Rscript" in said.read_text().split()
    assert client.request("GET", "lsp/status").json() == answer


def interrupted(client: JupyterClient, kernel: str, code: str) -> str:
    """Run ``code``, and interrupt it until it ends."""
    done = threading.Event()
    threading.Thread(target=_interrupt, args=(client, kernel, done)).start()
    try:
        return client.run(kernel, code)
    finally:
        done.set()


def _interrupt(client: JupyterClient, kernel: str, done: threading.Event) -> None:
    while not done.wait(0.5):
        if client.request("GET", f"api/kernels/{kernel}").json()["execution_state"] == "busy":
            client.request("POST", f"api/kernels/{kernel}/interrupt")
