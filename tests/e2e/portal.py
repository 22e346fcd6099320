"""A stand-in for an Open OnDemand portal: Apache 2.4 with the rules of its proxy (tests/support/portal_proxy.py).

What it lacks: TLS in front (so its page sets the XSRF cookie without ``secure``), the login of the portal's
own users, the mapping of users and the headers X-Forwarded-User and X-Forwarded-Escaped-Uri, and the card that
renders the page: it is what a view.html.erb would give.
"""

import html
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from tests.support import ondemand
from tests.support.accounts import user_of_tests
from tests.support.needs import need
from tests.support.portal_proxy import TRUSTING, server

ANSWERS_WITHIN = 20.0  # seconds

_PAGES = Template("""
<Directory "$root/pages">
    Require all granted
</Directory>
<Proxy "*">
    Require all granted
</Proxy>
""")

PAGE = Template("""<!DOCTYPE html>
<title>portal</title>
<script>
  document.cookie = "_xsrf=$xsrf;path=$base_url;samesite=strict";
  document.cookie = "_xsrf=$xsrf;path=$below;samesite=strict";
</script>
<form action="${base_url}login?next=$next" method="post">
  <input type="hidden" name="_xsrf" value="$xsrf">
  <input type="hidden" name="password" value="$password">
  <button type="submit" id="connect">Connect to Jupyter</button>
</form>
""")
# Cookies of the longer path come first: those that rserver has set in an earlier job are below /rnode/HOST/PORT.
RSTUDIO_PAGE = Template("""<!DOCTYPE html>
<title>portal</title>
<script>
  document.cookie = "csrf-token=$csrf_token;path=$base_url;samesite=strict";
  document.cookie = "rs-csrf-token=$csrf_token;path=$base_url;samesite=strict";
</script>
<form action="${base_url}auth-do-sign-in" method="post">
  <input type="hidden" name="username" value="$username">
  <input type="hidden" name="password" value="$password">
  <input type="hidden" name="staySignedIn" value="1">
  <input type="hidden" name="appUri" value="">
  <input type="hidden" name="csrf-token" value="$csrf_token">
  <input type="hidden" name="rs-csrf-token" value="$csrf_token">
  <button type="submit" id="connect">Connect to RStudio Server</button>
</form>
""")
SPARK_PAGE = Template("""<!DOCTYPE html>
<title>portal</title>
<form action="${spark_ui_path}ood-runtime/login" method="post">
  <input type="hidden" name="secret" value="$spark_ui_secret">
  <button type="submit" id="connect">Spark UI</button>
</form>
""")


class Portal:
    """Apache on a port of 127.0.0.1, run by an unprivileged user in ``root``; a context manager.

    ``ssl_proxy`` says what it does with certificates of servers that it talks to by TLS.
    """

    def __init__(self, root: Path, ssl_proxy: Iterable[str] = TRUSTING) -> None:
        self._program = need("apache2", "httpd")
        self._root, self._ssl_proxy = root, ssl_proxy
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        """What a browser calls the origin of its pages."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "Portal":
        (self._root / "pages").mkdir(parents=True)
        (self._root / "pages" / "index.html").write_text("portal")
        configuration = self._root / "httpd.conf"
        pages = _PAGES.substitute(root=self._root)
        rules, modules = ondemand.rules(self._root, self._port, self._ssl_proxy, login=False)
        configuration.write_text(server(self._root, self._port, modules) + pages + rules)
        user = user_of_tests()
        for path in (self._root, self._root / "pages", configuration):
            os.chown(path, user.uid, user.gid)
        self._process = subprocess.Popen(
            [self._program, "-f", str(configuration), "-DFOREGROUND"],
            env=user.environment(),
            stderr=subprocess.DEVNULL,
            **user.identity(),
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def write_page(self, connection: Mapping[str, Any], next_url: str = "", page: Template = PAGE) -> str:
        """Write the page that a session's card shows for what connection.yml says; the page's URL."""
        base = str(connection.get("base_url", f"/rnode/{connection['host']}/{connection['port']}/"))
        values = {**connection, "base_url": base, "below": base.rstrip("/"), "next": next_url}
        text = page.substitute({key: html.escape(str(value)) for key, value in values.items()})
        (self._root / "pages" / "session.html").write_text(text)
        return f"{self.origin}/session.html"

    def log(self) -> str:
        """What Apache complained about."""
        path = self._root / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + ANSWERS_WITHIN
        while True:
            try:
                urllib.request.urlopen(f"{self.origin}/index.html", timeout=5).close()
            except OSError as error:
                assert self._process and self._process.poll() is None, f"Apache ended:\n{self.log()}"
                assert time.monotonic() < deadline, f"Apache does not answer: {error}\n{self.log()}"
                time.sleep(0.05)
            else:
                return


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
