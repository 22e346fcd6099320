"""What the portal shows of an app that ``ood-runtime init`` wrote: the button, the card, and why it ended."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ood_runtime.gateway_probes import LOGIN
from ood_runtime.portal_app import APPS
from tests.portal.rendering import HOSTILE, VERSIONS, Page, render

PAGE_TAGS = {
    "div",
    "p",
    "b",
    "ul",
    "li",
    "pre",
    "a",
    "progress",
    "details",
    "summary",
    "code",
    "form",
    "input",
    "button",
}
CONNECTION = {"host": "node1", "port": 23770, "password": "kX0q", "xsrf": "5d1c", "base_url": "/node/node1/23770/"}
RSTUDIO_CONNECTION = {"host": "node1", "port": 23770, "password": "kX0q", "username": "me", "csrf_token": "5d1c"}


def status(root: Path, state: str, **changes: Any) -> None:
    now = time.time()
    services = [
        {"name": "jupyter", "state": "ready", "detail": "", "background": False},
        {"name": "spark-workers", "state": "starting", "detail": "3 of 4", "background": False},
        {"name": "class-data", "state": "starting", "detail": "", "background": True},
    ]
    written: dict[str, Any] = {
        "version": 1,
        "state": state,
        "message": "starting jupyter-spark on node1",
        "services": services,
        "workers": {"ready": 3, "wanted": 4},
        "notices": [],
        "error": None,
        "started_at": now - 10,
        "updated_at": now,
        "ended_at": now if state in ("ended", "failed") else None,
        "ends_at": now + 4000,
    }
    (root / "status.json").write_text(json.dumps({**written, **changes}))


@pytest.mark.parametrize("app", APPS)
def test_the_button_logs_in(apps: dict[str, Path], root: Path, app: str) -> None:
    connection = CONNECTION if app.startswith("jupyter") else RSTUDIO_CONNECTION
    (root / "connection.yml").write_text(yaml.safe_dump(connection))
    answers = render(*({"what": "view", "app": apps[app], "root": root, "version": v} for v in VERSIONS))
    assert all(answer == answers[0] for answer in answers)
    page = Page(answers[0]["text"])
    (form,) = page.all("form")
    fields = {str(field["name"]): field["value"] for field in page.all("input")}
    cookies = json.loads(str(form["data-cookies"]))
    if app.startswith("jupyter"):
        assert form["action"] == "/node/node1/23770/login?next=/node/node1/23770/lab"
        assert fields == {"_xsrf": "5d1c", "password": "kX0q"}
        assert cookies == [f"_xsrf=5d1c; path=/node/node1/23770{end}; secure; samesite=strict" for end in ("/", "")]
    else:
        assert form["action"] == "/rnode/node1/23770/auth-do-sign-in"
        assert fields["csrf-token"] == fields["rs-csrf-token"] == "5d1c"
        assert (fields["username"], fields["password"]) == ("me", "kX0q")
        names = [cookie.partition("=")[0] for cookie in cookies]
        assert names == ["csrf-token", "rs-csrf-token"]
        assert all("; path=/rnode/node1/23770/;" in cookie for cookie in cookies)
    assert len(page.all("button")) == 1, "there is no Spark UI"
    assert "kX0q" in page.text, "for who cannot use the button"
    assert "script" not in page.tags(), "a policy may forbid it"


def test_the_second_button_opens_the_spark_ui_by_jupyters_login(apps: dict[str, Path], root: Path) -> None:
    values = {**CONNECTION, "spark_ui_path": "/node/node1/23770/sparkui/"}
    (root / "connection.yml").write_text(yaml.safe_dump(values))
    answers = render(*({"what": "view", "app": apps["jupyter-spark"], "root": root, "version": v} for v in VERSIONS))
    assert all(answer == answers[0] for answer in answers)
    page = Page(answers[0]["text"])
    assert len(page.all("form")) == 1
    assert [button.get("formaction") for button in page.all("button")] == [
        None,
        "/node/node1/23770/login?next=/node/node1/23770/sparkui/",
    ]


@pytest.mark.parametrize("app", ["jupyter-spark", "rstudio-spark"])
def test_the_second_button_sends_the_gateways_secret(apps: dict[str, Path], root: Path, app: str) -> None:
    connection = CONNECTION if app.startswith("jupyter") else RSTUDIO_CONNECTION
    values = {**connection, "spark_ui_path": "/rnode/node1/23771/", "spark_ui_secret": "gX0r"}
    (root / "connection.yml").write_text(yaml.safe_dump(values))
    answers = render(*({"what": "view", "app": apps[app], "root": root, "version": v} for v in VERSIONS))
    assert all(answer == answers[0] for answer in answers)
    page = Page(answers[0]["text"])
    form = page.all("form")[1]
    assert (form["action"], form["method"]) == (f"/rnode/node1/23771{LOGIN}", "post")
    assert page.all("button")[1]["form"] == form["id"]
    assert page.all("input")[-1] == {"type": "hidden", "name": "secret", "value": "gX0r"}


@pytest.mark.parametrize("app", APPS)
def test_a_connection_of_others_is_text_on_the_page(apps: dict[str, Path], tmp_path: Path, app: str) -> None:
    connection = CONNECTION if app.startswith("jupyter") else RSTUDIO_CONNECTION
    asked = []
    for number, value in enumerate(HOSTILE):
        root = tmp_path / str(number)
        root.mkdir()
        more = ("spark_ui_path", "spark_ui_secret")[: 1 + number % 2]
        (root / "connection.yml").write_text(json.dumps(dict.fromkeys([*connection, *more], value)))
        asked.append({"what": "view", "app": apps[app], "root": root})
    for answer in render(*asked):
        assert Page(answer["text"]).tags() <= PAGE_TAGS


def test_the_card_of_a_start(apps: dict[str, Path], root: Path) -> None:
    status(root, "starting", notices=["one worker is slow"])
    app = apps["jupyter-spark"]
    answers = render(*({"what": "info", "app": app, "root": root, "version": v, "state": "starting"} for v in VERSIONS))
    for answer in answers:
        page = Page(answer["text"])
        assert page.all("progress") == [{"class": "w-100", "value": "1", "max": "2"}]
        assert "1 of 2 ready, 3 of 4 workers" in page.text
        assert "spark-workers: starting: 3 of 4" in page.text
        assert "1 h 6 min left" in page.text
        assert "one worker is slow" in page.text
        assert "class-data" not in page.text


@pytest.mark.parametrize(("changes", "words"), [({}, "1 h 6 min left"), ({"ends_at": None}, "1 h 59 min left")])
def test_the_time_left_is_what_the_scheduler_told_or_else_what_was_asked_for(
    apps: dict[str, Path], root: Path, changes: dict[str, Any], words: str
) -> None:
    status(root, "ready", **changes)
    (root / "user_defined_context.json").write_text(json.dumps({"bc_num_hours": "2"}))
    (answer,) = render({"what": "info", "app": apps["rstudio"], "root": root, "state": "running"})
    assert words in Page(answer["text"]).text


def test_a_card_without_a_status_is_no_error(apps: dict[str, Path], tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    for number, text in enumerate(
        [None, "", "{", "[]", '{"state": 7, "services": 8, "error": "x"}', '{"services": []}']
    ):
        root = tmp_path / str(number)
        root.mkdir()
        if text is not None:
            (root / "status.json").write_text(text)
        asked += [
            {"what": what, "app": apps["jupyter"], "root": root, "version": version, "state": state}
            for version in VERSIONS
            for state in ("queued", "starting", "running", "completed")
            for what in ("info", "completed")
        ]
    assert [answer for answer in render(*asked) if "error" in answer] == []


def test_the_card_of_a_session_that_runs(apps: dict[str, Path], root: Path) -> None:
    status(root, "ready", notices=["node3 is lost; the session goes on with the other nodes"])
    (answer,) = render({"what": "info", "app": apps["jupyter-spark"], "root": root, "state": "running"})
    text = Page(answer["text"]).text
    assert "Ready, 3 of 4 workers" in text
    assert "node3 is lost" in text
    used = [{"alive": alive, "cores": 8, "cores_used": number} for number, alive in ((3, True), (4, True), (1, False))]
    odd = [{"alive": True, "cores": [8], "cores_used": "x"}, 7, None]
    for each, words in (
        (used, ", 7 of 16 cores in use"),
        ([*used, *odd], ", 7 of 16 cores in use"),
        (odd, ""),
        (7, ""),
    ):
        status(root, "ready", workers={"ready": 3, "wanted": 4, "each": each})
        (answer,) = render({"what": "info", "app": apps["jupyter-spark"], "root": root, "state": "running"})
        assert f"Ready, 3 of 4 workers{words}\n" in Page(answer["text"]).text + "\n", each


FAILURE = {
    "what": "jupyter ended with exit status 1\n    | Traceback\n    | \n    | <b>no</b> module",
    "remedy": "look at the log",
    "log": "/x/logs/jupyter.log",
    "exit_status": 5,
}


def test_the_card_of_a_failure_has_reason_log_and_remedy(apps: dict[str, Path], root: Path) -> None:
    status(root, "failed", error=FAILURE)
    asked = [("info", "3.0", "completed"), ("info", "4.2", "starting"), ("completed", "4.2", "completed")]
    requests = [
        {"what": what, "app": apps["jupyter"], "root": root, "version": version, "state": state}
        for what, version, state in asked
    ]
    pages = [Page(answer["text"]) for answer in render(*requests)]
    for page in pages:
        assert "jupyter ended with exit status 1" in page.text
        assert "Traceback\n\n<b>no</b> module" in page.text
        assert "look at the log" in page.text
    links = [str(link["href"]) for link in pages[2].all("a")]
    assert links == [
        f"/pun/sys/dashboard/files/fs{root}/output.log",
        "/pun/sys/dashboard/files/fs/x/logs/jupyter.log",
    ]


def test_the_end_is_told_once(apps: dict[str, Path], root: Path) -> None:
    status(root, "failed", error=FAILURE)
    (answer,) = render({"what": "info", "app": apps["jupyter"], "root": root, "version": "3.1", "state": "completed"})
    assert answer["text"].strip() == ""


ENDS: list[tuple[str | None, dict[str, Any], str, str]] = [
    ("ended", {"message": "ended: ood-runtime stop"}, "", "The session has ended: ood-runtime stop."),
    ("ended", {"message": "ended: signal SIGTERM"}, "", "its card was deleted, or somebody cancelled it"),
    (
        "ended",
        {"message": "ended: signal SIGTERM", "ends_at": time.time() + 60},
        "",
        "The time that was asked for is over",
    ),
    (
        "ready",
        {},
        "slurmstepd: error: *** JOB 7 CANCELLED AT X DUE TO TIME LIMIT ***\n",
        "The time that was asked for is over",
    ),
    (
        "ready",
        {},
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch\n",
        "more memory than it had asked for",
    ),
    (
        "ended",
        {"message": "ended: signal SIGTERM"},
        "Job 7 exceeded memory limit (2 > 1), being killed\n",
        "more memory",
    ),
    ("ready", {}, "=>> PBS: job killed: pvmem 2kb exceeded limit 1kb\n", "more memory than it had asked for"),
    (
        "ended",
        {"message": "ended: signal SIGTERM", "notices": ["memory ran out"]},
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch\n",
        "somebody cancelled it.\nNote: memory ran out\n",
    ),
    (
        "ready",
        {},
        "slurmstepd: error: *** JOB 7 ON n CANCELLED AT X ***\n",
        "somebody cancelled it.\n\nThe job's output",
    ),
    (
        "ended",
        {"message": "ended: signal SIGTERM"},
        "slurmstepd: error: *** JOB 7 ON n CANCELLED AT X DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***\n",
        "The scheduler ended the job: node failure.",
    ),
    ("starting", {}, "", "killed before it could say why, perhaps for lack of memory"),
    ("ready", {}, "", "What to do: ask for more memory"),
    (None, {}, "x\nood-runtime: no Jupyter\n  what to do: module load jupyter\n", "ood-runtime: no Jupyter"),
    (None, {}, "", "ended before it had begun"),
    (None, {}, "after.sh: line 5: ood-runtime: command not found\n", "--program or --module of ood-runtime init"),
    (
        None,
        {},
        "a\nmodule load failed: spark/4\n",
        "The module spark/4 could not be loaded.\nWhat to do: `module avail`",
    ),
]


def test_why_it_ended_in_words(apps: dict[str, Path], tmp_path: Path) -> None:
    asked = []
    for number, (state, changes, output, _) in enumerate(ENDS):
        root = tmp_path / str(number)
        root.mkdir()
        if state:
            status(root, state, **changes)
        (root / "output.log").write_text(output)
        asked.append({"what": "completed", "app": apps["jupyter-spark"], "root": root, "state": "completed"})
    for (*_, words), answer in zip(ENDS, render(*asked), strict=True):
        page = Page(answer["text"])
        assert words in page.text
        assert "x\n" not in page.text


@pytest.mark.parametrize(
    ("hours", "words"), [("1", "The time that was asked for is over"), ("2", "ended from outside")]
)
def test_the_time_is_over_where_the_scheduler_does_not_tell_its_end(
    apps: dict[str, Path], root: Path, hours: str, words: str
) -> None:
    status(root, "ended", message="ended: signal SIGTERM", ends_at=None, started_at=time.time() - 3500)
    (root / "user_defined_context.json").write_text(json.dumps({"bc_num_hours": hours}))
    (answer,) = render({"what": "completed", "app": apps["jupyter"], "root": root, "state": "completed"})
    assert words in Page(answer["text"]).text


def test_what_a_session_says_is_text_on_the_page(apps: dict[str, Path], tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    for number, value in enumerate(HOSTILE):
        service = {"name": value, "state": value, "detail": value, "background": False}
        error = {"what": f"{value}\n\n    | {value}", "remedy": value, "log": value}
        for state in ("starting", "ready", "failed", value):
            root = tmp_path / f"{number}-{len(asked)}"
            root.mkdir()
            told = error if state == "failed" else None
            status(root, state, services=[service], notices=[value], message=value, error=told)
            (root / "output.log").write_bytes(value.encode() + b"\n\n\xff\n")
            for what in ("info", "completed"):
                asked.append({"what": what, "app": apps["jupyter-spark"], "root": root, "state": what})
    for answer in render(*asked):
        assert Page(answer["text"]).tags() <= PAGE_TAGS, answer["text"]
