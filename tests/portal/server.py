"""A stand-in for the Dashboard of Open OnDemand: form, launch, cards and files, for the interactive apps of one user.

    python -m tests.portal.server PORT APPS DATA WRAPPER

APPS is a directory of apps, DATA keeps sessions, WRAPPER is what the cluster's file gives as ``script_wrapper``. As in
the real one: an app's directory is staged and rendered before the job is submitted, with ``sbatch --export=NONE`` and
the script on its standard input; a job that runs is starting as long as there is no connection.yml; cards show info
always, the view or why it ended below, and are drawn again at each poll; an error's message is shown above the form.

What it lacks: all else. Pages are rendered by tests/portal/dashboard.rb, jobs by tests/support/portal_job.py. It polls
every half second, the real one every ten.
"""

import asyncio
import html
import json
import shlex
import subprocess
import sys
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tornado.web
import yaml

from tests.portal.rendering import render
from tests.support.portal_job import PortalJob

ROOT = "/pun/sys/dashboard"
_QUEUED, _RUNNING = ("PENDING", "CONFIGURING"), ("RUNNING", "SUSPENDED")
# What the portal knows of attributes by itself.
_OWN = {
    "bc_account": {"widget": "text_field"},
    "bc_num_hours": {"widget": "number_field", "value": "1"},
    "bc_email_on_started": {"widget": "check_box"},
}
_STYLE = """<style>
body { font: 15px sans-serif; margin: 2em auto; max-width: 46em; color: #222 }
h1 { font-size: 1.5em } .field { margin: .7em 0 } label { display: block } small { display: block; color: #666 }
input[type=checkbox] + label { display: inline } input[type=text], input[type=number], textarea { width: 100% }
.card { border: 1px solid #bbb; border-radius: 4px; margin: 1em 0 } .card-header { background: #eee; padding: .6em }
.card-body { padding: .6em } .btn { padding: .4em .8em; border: 1px solid #888; border-radius: 4px; color: #222;
background: #f8f8f8; text-decoration: none } .btn-primary { background: #1a6fb8; color: white }
.btn-danger { float: right } .alert-danger { background: #fbdcdc; padding: .6em } .w-100 { width: 100% }
pre { background: #f4f4f4; padding: .6em; overflow: auto } hr { border: 0; border-top: 1px solid #ddd }
</style>"""


@dataclass(frozen=True)
class Session:
    """One launch of an app."""

    id: str
    title: str
    app: str
    job_id: str
    root: str

    def state(self) -> str:
        """What the card says: queued, starting, running or completed."""
        done = subprocess.run(
            ["squeue", "-h", "-j", self.job_id, "-o", "%T"], capture_output=True, text=True, check=False
        )
        word = done.stdout.strip()
        if word in _QUEUED:
            return "queued"
        if word not in _RUNNING:
            return "completed"
        return "running" if (Path(self.root) / "connection.yml").is_file() else "starting"

    def parts(self, state: str) -> list[str]:
        """What stands on the card."""
        wanted = ["info", *({"running": ["view"], "completed": ["completed"]}.get(state, []))]
        answers = render(*({"what": what, "app": self.app, "root": self.root, "state": state} for what in wanted))
        return [answer.get("text") or _alert(answer) for answer in answers if answer.get("text") != ""]


def _alert(answer: dict[str, Any]) -> str:
    return f'<div class="alert alert-danger">{html.escape(answer.get("error", ""))}</div>'


class Dashboard:
    """The apps and the sessions of a user."""

    def __init__(self, apps: Path, data: Path, wrapper: str) -> None:
        self.apps, self._data, self._wrapper = apps, data, wrapper

    def fields(self, app: str) -> dict[str, dict[str, Any]]:
        """The form's fields: widget, label, value and help."""
        form = yaml.safe_load((self.apps / app / "form.yml").read_text())
        found = {}
        for name in form["form"]:
            field = {"widget": "text_field", "label": name, "value": "", **_OWN.get(name, {})}
            field |= form["attributes"].get(name, {})
            found[name] = {**field, "value": str(field["value"])}
        return found

    def launch(self, app: str, fields: dict[str, str]) -> str:
        """Submit a session; the message of what went wrong, or "" when nothing did."""
        root = self._data / "output" / (identifier := str(uuid.uuid4()))
        root.mkdir(parents=True, mode=0o700)
        common = {"app": self.apps / app, "root": root, "fields": fields}
        submit, stage = render({"what": "submit", **common}, {"what": "stage", **common})
        if error := submit.get("error") or stage.get("error"):
            return str(error)
        options = {key: value for key, value in submit["value"]["batch_connect"].items() if key != "template"}
        script = PortalJob(script_wrapper=self._wrapper, **options).text(root)
        command = ["sbatch", "-D", str(root), "-o", str(root / "output.log"), "-t", f"{fields['bc_num_hours']}:00:00"]
        command += ["--export", "NONE", "--parsable", *submit["value"]["script"]["native"]]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr
        title = str(yaml.safe_load((self.apps / app / "form.yml").read_text())["title"])
        session = Session(identifier, title, str(self.apps / app), done.stdout.strip(), str(root))
        (self._data / f"{identifier}.json").write_text(json.dumps(asdict(session)))
        return ""

    def sessions(self) -> list[Session]:
        """All sessions, the newest first."""
        records = sorted(self._data.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        return [Session(**json.loads(path.read_text())) for path in records]


class _Style(tornado.web.UIModule):
    def render(self) -> str:
        return _STYLE


class _Handler(tornado.web.RequestHandler):
    def initialize(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard

    def panels(self) -> str:
        cards = []
        for session in self.dashboard.sessions():
            state = session.state()
            text = self.render_string("panel.html", session=session, state=state, parts=session.parts(state))
            cards.append(text.decode())
        return "".join(cards)


class _Form(_Handler):
    def get(self, app: str) -> None:
        self._show(app, self.dashboard.fields(app), "")

    def post(self, app: str) -> None:
        fields = self.dashboard.fields(app)
        # Of a check box the last value counts: the hidden field comes first.
        values = {name: self.get_arguments(f"batch_connect_session_context[{name}]", strip=False) for name in fields}
        given = {name: found[-1] if found else "" for name, found in values.items()}
        if error := self.dashboard.launch(app, given):
            self._show(app, {name: {**field, "value": given[name]} for name, field in fields.items()}, error)
        else:
            self.redirect(f"{ROOT}/batch_connect/sessions")

    def _show(self, app: str, fields: dict[str, Any], error: str) -> None:
        form = self.dashboard.apps / app / "form.js"
        script = form.read_text() if form.exists() else ""
        self.render("form.html", title=app, fields=fields, error=error, script=script)


class _Sessions(_Handler):
    def get(self) -> None:
        self.render("sessions.html", panels=self.panels())


class _Panels(_Handler):
    def get(self) -> None:
        self.write(self.panels())


class _Cancel(_Handler):
    def post(self, identifier: str) -> None:
        job = next(session.job_id for session in self.dashboard.sessions() if session.id == identifier)
        subprocess.run(["scancel", job], check=True)
        self.redirect(f"{ROOT}/batch_connect/sessions")


class _File(_Handler):
    def get(self, path: str) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(Path(path).read_bytes())


async def _serve(port: int, dashboard: Dashboard) -> None:
    own = {"dashboard": dashboard}
    app = tornado.web.Application(
        [
            (rf"{ROOT}/batch_connect/sys/([a-z-]+)/session_contexts/new", _Form, own),
            (rf"{ROOT}/batch_connect/sessions", _Sessions, own),
            (rf"{ROOT}/batch_connect/sessions/panels", _Panels, own),
            (rf"{ROOT}/batch_connect/sessions/([0-9a-f-]+)/cancel", _Cancel, own),
            (rf"{ROOT}/files/fs(/.*)", _File, own),
        ],
        template_path=str(Path(__file__).parent / "pages"),
        ui_modules={"Style": _Style},
    )
    app.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    given_port, *places, given_wrapper = sys.argv[1:]
    print(f"serving {shlex.join(places)}", flush=True)
    asyncio.run(_serve(int(given_port), Dashboard(Path(places[0]), Path(places[1]), given_wrapper)))
