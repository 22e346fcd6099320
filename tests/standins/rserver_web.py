"""What the stand-in for rserver answers: the sign-in with its helper, cookies and CSRF tokens, and the R session.

Cookies are signed with the secure-cookie key and end; of several cookies of one name the first counts; the token that
is compared has another name since 2022.02, and the old one counts where there is none of that.
"""

import base64
import hashlib
import hmac
import html
import http.server
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from tests.standins.rserver_files import Files
from tests.standins.rserver_options import Options, RefusedError
from tests.standins.rserver_sessions import Sessions

_BROWSERS = ("Chrome", "Firefox", "Safari", "Trident")
_OLD, _NEW = "csrf-token", "rs-csrf-token"
_BAD_LOGIN, _SERVER_ERROR = "1", "2"
_VALID = 3600.0  # seconds
_FORM = """<!DOCTYPE html><title>RStudio Sign In</title>
<form method="POST" action="{action}">{message}<input name="username"><input type="password" name="password">
<input type="hidden" name="{token_name}" value="{token}"><input type="hidden" name="appUri" value="{uri}"></form>
"""
_PAGE = """<!DOCTYPE html><title>RStudio</title><p id="user">{user}</p>
<form id="console"><input id="line"></form><pre id="output"></pre>
<script>
document.getElementById("console").onsubmit = (event) => {{
  event.preventDefault();
  fetch("rpc/console_input", {{
    method: "POST", headers: {{"Content-Type": "application/json", "{header}": "{token}"}},
    body: JSON.stringify({{method: "console_input", params: [document.getElementById("line").value]}}),
  }}).then((answer) => answer.json()).then((answer) => {{
    document.getElementById("output").textContent += answer.result;
  }});
}};
</script>
"""


class Web(http.server.ThreadingHTTPServer):
    """The server at www-address and www-port. Raises OSError when another program has the port."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, options: Options, files: Files, sessions: Sessions, log: Callable[[str], None]) -> None:
        super().__init__((options.text("www-address"), int(options.text("www-port") or 8787)), _Handler)
        self.options, self.files, self.sessions, self.log = options, files, sessions, log
        # A helper that hangs takes one of these for as long as it likes.
        self.threads = threading.BoundedSemaphore(options.number("www-thread-pool-size"))
        self.revoked: set[str] = set()
        self._signed_in: dict[str, float] = {}

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def throttled(self, user: str) -> bool:
        """Whether the user's last sign-in is too near. It takes note of this one otherwise."""
        if not self.options.since(1, 3):
            return False
        now = int(time.time())
        if self._signed_in.get(user, -1) > now - self.options.number("auth-sign-in-throttle-seconds"):
            return True
        self._signed_in[user] = now
        return False

    def helper(self, user: str, password: str) -> bool:
        """Whether the program of auth-pam-helper-path says yes; what it prints is dropped."""
        program = self.options.program("auth-pam-helper-path")
        if not program.exists():
            self.log(f"ERROR PAM helper binary does not exist at {program}")
            return False
        prompt = str(int(self.options.on("auth-pam-require-password-prompt")))
        argv = [str(program), user, *(("rstudio", prompt) if self.options.since(1, 3) else ())]
        try:
            done = subprocess.run(
                argv, input=password.encode(), capture_output=True, check=False,
                env=self.sessions.helper_environment(),
            )  # fmt: skip
        except OSError as error:
            self.log(f"ERROR {program}: {error}")
            return False
        return done.returncode == 0

    def sign(self, value: str) -> str:
        """A cookie that says who somebody is, until when, and that we said so."""
        text = f"{quote(value)}|{quote(formatdate(time.time() + _VALID, usegmt=True), safe='')}"
        return f"{text}|{quote(self._mac(text), safe='')}"

    def signed(self, cookie: str) -> str:
        """Who a cookie says that somebody is; nobody, when it is not ours, has ended, or was given back."""
        text, _, mac = cookie.rpartition("|")
        value, _, until = text.partition("|")
        if not value or cookie in self.revoked or not hmac.compare_digest(unquote(mac), self._mac(text)):
            return ""
        return unquote(value) if parsedate_to_datetime(unquote(until)).timestamp() > time.time() else ""

    def _mac(self, text: str) -> str:
        return base64.b64encode(hmac.digest(self.files.cookie_key, text.encode(), hashlib.sha256)).decode()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        with self.server.threads:
            path = urlsplit(self.path).path
            if path == "/auth-sign-in":
                self._sign_in_page()
            elif path == "/unsupported_browser.htm":
                self._answer("unsupported browser")
            elif path == "/":
                self._main_page()
            else:
                self._answer("not found", HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        with self.server.threads:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            if path == "/auth-do-sign-in":
                self._sign_in({name: values[0] for name, values in parse_qs(body.decode()).items()})
            elif path == "/auth-sign-out":
                self._sign_out({name: values[0] for name, values in parse_qs(body.decode()).items()})
            elif path.startswith("/rpc/"):
                self._rpc(body)
            else:
                self._answer("not found", HTTPStatus.NOT_FOUND)

    def _main_page(self) -> None:
        agent = self.headers.get("User-Agent", "")
        if self.server.options.on("www-verify-user-agent") and not any(name in agent for name in _BROWSERS):
            self._go("/unsupported_browser.htm")
        elif user := self._user():
            header = "X-RS-CSRF-Token" if self.server.options.since(2022, 2) else "X-CSRF-Token"
            self._answer(_PAGE.format(user=html.escape(user), header=header, token=html.escape(self._token())))
        else:
            self._go(f"/auth-sign-in?{urlencode({'appUri': self.path})}")

    def _sign_in_page(self) -> None:
        if self._user():
            self._go("/")
            return
        query = parse_qs(urlsplit(self.path).query)
        token, values = "", {"action": "auth-do-sign-in", "uri": query.get("appUri", [""])[0]}
        cookies = []
        if self.server.options.since(1, 4):
            token = self._token() or str(uuid.uuid4())
            cookies = [self._cookie(self._token_name(), token)]
        message = "<p>Incorrect or invalid</p>" if "error" in query else ""
        values = {name: html.escape(value) for name, value in {**values, "token": token}.items()}
        self._answer(_FORM.format(token_name=self._token_name(), message=message, **values), cookies=cookies)

    def _sign_in(self, form: dict[str, str]) -> None:
        server, options = self.server, self.server.options
        uri = form.get("appUri") or "/"
        if options.since(1, 4) and not self._form_is_ours(form):
            server.log("ERROR Failed to validate sign-in with invalid CSRF form")
            self._refuse(uri, _SERVER_ERROR)
            return
        user, password = form.get("username", ""), form.get("password", "")
        if options.on("auth-encrypt-password"):  # the pair is expected in "v" then, encrypted
            self._refuse(uri, _SERVER_ERROR)
            return
        authenticated = bool(password) and server.helper(user, password)
        # Up to 2021.09 attempts that fail count too.
        if (authenticated or not options.since(2022, 2)) and server.throttled(user):
            self._refuse(uri, _SERVER_ERROR)
        elif not authenticated:
            self._refuse(uri, _BAD_LOGIN)
        else:
            days = options.number("auth-stay-signed-in-days") * 86400
            stays = options.number("auth-timeout-minutes") * 60 or days if "staySignedIn" in form else None
            cookies = [self._cookie("user-id", server.sign(user), stays)]
            if options.since(1, 3):
                cookies += [self._cookie("user-list-id", server.sign("9c16856330a7400cbbbba228392a5d83"), stays)]
                cookies += [self._cookie("persist-auth", "1" if stays else "0", stays)]
            cookies.append(self._cookie(self._token_name(), self._token() or str(uuid.uuid4()), stays))
            self._go(uri if uri.startswith("/") else f"/{uri}", cookies)

    def _sign_out(self, form: dict[str, str]) -> None:
        if not self._form_is_ours(form):
            self._answer("Missing or incorrect token.", HTTPStatus.BAD_REQUEST)
            return
        self.server.revoked.add(self._first_cookie("user-id"))
        self._go("/auth-sign-in", [self._cookie("user-id", "", -1.0)])

    def _rpc(self, body: bytes) -> None:
        user = self._user()
        header = self.headers.get("X-RS-CSRF-Token") if self.server.options.since(2022, 2) else None
        token = header or self.headers.get("X-CSRF-Token", "")
        if not user or not token or token != self._token():
            self._answer("unauthorized", HTTPStatus.UNAUTHORIZED)
            return
        try:
            answer = self.server.sessions.request(user, body, self._protocol() == "https")
        except (OSError, RefusedError) as error:
            self.server.log(f"ERROR {error}")
            self._answer(json.dumps({"error": str(error)}), HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._answer(answer.decode(errors="replace"), kind="application/json")

    def _user(self) -> str:
        if self.server.options.on("auth-none"):
            return self.server.sessions.helper_environment().get("USER", "nobody")
        return self.server.signed(self._first_cookie("user-id"))

    def _token_name(self) -> str:
        return _NEW if self.server.options.since(2022, 2) else _OLD

    def _token(self) -> str:
        return self._first_cookie(self._token_name()) or self._first_cookie(_OLD)

    def _form_is_ours(self, form: dict[str, str]) -> bool:
        token = self._token()
        return bool(token) and token == (form.get(self._token_name()) or form.get(_OLD, ""))

    def _first_cookie(self, name: str) -> str:
        pairs = [part.strip().partition("=") for part in self.headers.get("Cookie", "").split(";")]
        return next((value for found, _, value in pairs if found == name), "")

    def _cookie(self, name: str, value: str, seconds: float | None = None) -> str:
        expires = "" if seconds is None else f"; expires={formatdate(time.time() + seconds, usegmt=True)}"
        secure = self._protocol() == "https" or self.server.options.on("auth-cookies-force-secure")
        path = self.server.options.text("www-root-path")
        return f"{name}={value}{expires}; path={path}; HttpOnly{'; secure' if secure else ''}"

    def _protocol(self) -> str:
        return self.headers.get("X-Forwarded-Proto", "http")

    def _refuse(self, uri: str, error: str) -> None:
        self._go("/auth-sign-in?" + urlencode({**({"appUri": uri} if uri != "/" else {}), "error": error}))

    def _go(self, place: str, cookies: list[str] | None = None) -> None:
        root = self.headers.get("X-RStudio-Root-Path") or self.server.options.text("www-root-path")
        host = self.headers.get("X-Forwarded-Host") if self.server.options.since(1, 4) else None
        location = f"{self._protocol()}://{host or self.headers['Host']}{root.rstrip('/')}{place}"
        self._answer("", HTTPStatus.FOUND, [("Location", location)], cookies)

    def _answer(
        self,
        text: str,
        status: HTTPStatus = HTTPStatus.OK,
        headers: list[tuple[str, str]] | None = None,
        cookies: list[str] | None = None,
        kind: str = "text/html",
    ) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in (*(headers or ()), *(("Set-Cookie", cookie) for cookie in cookies or ())):
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: rserver logs no requests."""
