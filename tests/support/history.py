"""`ood-runtime history` under test: what it starts, the way in, and its end."""

import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import psutil
import requests
import yaml

from tests.support.accounts import user_of_tests
from tests.support.faults import Place, environment, soon


@dataclass
class History:
    """`ood-runtime history`, and the way in."""

    process: "subprocess.Popen[str]"
    address: str
    secret: str

    def processes(self) -> list[psutil.Process]:
        """Its own, and Spark's history server."""
        own = psutil.Process(self.process.pid)
        (java,) = own.children()
        return [own, java]

    def ports(self) -> set[int]:
        """Where they listen: on loopback only."""
        listening = [
            connection.laddr
            for process in self.processes()
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {where.ip.removeprefix("::ffff:") for where in listening} == {"127.0.0.1"}
        return {where.port for where in listening}

    def log_in(self, secret: str) -> requests.Session:
        """A browser that has sent the form."""
        browser = requests.Session()
        page = browser.get(self.address, timeout=20)
        assert (page.status_code, page.headers["Cache-Control"]) == (403, "no-store")
        (action,) = re.findall(r'action="([^"]+)"', page.text)
        browser.post(urljoin(self.address, action), data={"secret": secret}, allow_redirects=False, timeout=20)
        return browser


@contextmanager
def history(at: Place, directory: Path, home: str | None = None) -> Iterator[History]:
    """One that shows ``directory``, with the Spark at ``home`` if that is not ours; killed afterwards."""
    file = at.root / "secret"
    call = [sys.executable, "-m", "ood_runtime", "history", str(directory), "--secret-file", str(file)]
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=at.root,
        env=environment(at, {"SPARK_HOME": home}), **user_of_tests().identity(),
    )  # fmt: skip
    try:
        soon(lambda: file.exists() or process.poll() is not None, "secret", 90)
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        words = yaml.safe_load(file.read_text())
        yield History(process, words["address"], words["secret"])
    finally:
        process.kill()
        process.communicate()
        file.unlink(missing_ok=True)


def end(shown: History, at: Place) -> None:
    """End it as people do: nothing is left."""
    shown.process.send_signal(signal.SIGINT)
    output, _ = shown.process.communicate(timeout=20)
    assert shown.process.returncode == 130, output
    assert shown.secret not in output
    assert not (at.root / "secret").exists()
    assert at.left() == []
