"""Real masters, workers and applications of Spark 3.5 and 4: what their web interfaces tell to whom."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ood_runtime import secret, ui_filter
from ood_runtime.gateway_probes import LOGIN
from tests.support.spark_interfaces import (
    API,
    HOST,
    PATHS,
    PATIENCE,
    PREFIX,
    Cluster,
    Interface,
    ask,
    commands,
    compiled,
    environment,
    free_port,
    program,
    properties,
    running,
    spark_home,
    stranger,
)
from tests.support.spark_pages import Pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", params=["3.5", "4"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(request.param, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def test_a_stranger_learns_nothing_from_the_first_moment_on(cluster: Cluster) -> None:
    for interface in cluster.interfaces:
        answers = interface.answers[:]
        # 404: it listens, and serves nothing yet.
        assert {status for _, status, _ in answers} <= {403, 404}
        assert not any(b"spark://" in body for _, _, body in answers)
        if ui_filter.needs_compile(cluster.release):
            assert {body for _, status, body in answers if status == 403} == {b""}


def test_the_key_opens_every_page(cluster: Cluster) -> None:
    header = ui_filter.authorization(cluster.release, cluster.key).reveal()
    for interface in cluster.interfaces:
        for path in PATHS[interface.name]:
            assert ask(interface.port, path, header)[0] == 200, (interface.name, path)


def test_nothing_else_opens_a_page(cluster: Cluster) -> None:
    other = ui_filter.authorization(cluster.release, secret.key()).reveal()
    right = ui_filter.authorization(cluster.release, cluster.key).reveal()
    wrong = [
        other,
        "Bearer",
        "Bearer ",
        right[:-2],
        right + "A",
        right.removeprefix("Bearer "),
        "Basic" + right[6:],
    ]
    for interface in cluster.interfaces:
        for path in ["/", *PATHS[interface.name]]:
            assert {ask(interface.port, path, header)[0] for header in wrong} == {403}


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_no_other_method_gets_in(cluster: Cluster, method: str) -> None:
    for interface in cluster.interfaces:
        for path in ["/", "/app/kill/", "/driver/kill/", "/jobs/job/kill/", *PATHS[interface.name]]:
            # 405: TRACE is refused before anything else.
            assert ask(interface.port, path, method=method)[0] in {403, 405}, (interface.name, path)


@pytest.mark.parametrize("path", ["//json/", "/json/;x=y", "/static/../json/", "/%6ason/", "/proxy/x/", "/./jobs/"])
def test_no_other_spelling_gets_in(cluster: Cluster, path: str) -> None:
    for interface in cluster.interfaces:
        assert ask(interface.port, path)[0] in {400, 403, 404}, interface.name


def test_the_masters_proxy_is_for_strangers_as_closed_as_the_rest(cluster: Cluster) -> None:
    header = ui_filter.authorization(cluster.release, cluster.key).reveal()
    master, _, application = cluster.interfaces
    (listed,) = json.loads(ask(application.port, API, header)[1])
    (worker,) = json.loads(ask(master.port, "/json/", header)[1])["workers"]
    for path in (f"/proxy/{listed['id']}/jobs/", f"/proxy/{listed['id']}{API}", f"/proxy/{worker['id']}/"):
        assert ask(master.port, path)[0] == 403
        assert ask(master.port, path, header)[0] == 200


def test_every_page_is_found_through_the_gateway(cluster: Cluster) -> None:
    """Without a proxy in front, which the addresses need not have; and no link leads elsewhere."""
    pages = Pages(f"http://{HOST}:{cluster.gateway}{PREFIX}/")
    assert pages.http.get(pages.url, timeout=20).status_code == 403
    entered = pages.http.post(
        f"{pages.url}{LOGIN[1:]}", {"secret": cluster.entry.reveal()}, allow_redirects=False, timeout=20
    )
    assert (entered.status_code, entered.headers["Location"]) == (303, f"{PREFIX}/")
    pages.visit(f"{pages.application()}SQL/execution/?id=0")  # its link is made by a script
    assert pages.wrong() == {}
    assert pages.outside == set()
    for value in (cluster.key, cluster.entry, ui_filter.jws_token(cluster.key)):
        assert [url for url, text in pages.texts.items() if value.reveal() in text] == []
    assert {"", "worker", "jobs/job/", "stages/stage/", "SQL/execution/", "executors/"} <= pages.kinds()


def test_the_key_shows_on_no_page(cluster: Cluster) -> None:
    header = ui_filter.authorization(cluster.release, cluster.key).reveal()
    application = cluster.interfaces[-1]
    name = next(name for name in ui_filter.conf(cluster.release, cluster.key) if ".param." in name)
    listed = json.loads(ask(application.port, API, header)[1])
    environment = f"{API}/{listed[0]['id']}/environment"
    page, answer = (ask(application.port, path, header)[1].decode() for path in ["/environment/", environment])
    assert [name, "*********(redacted)"] in json.loads(answer)["sparkProperties"]
    assert cluster.key.reveal() not in page + answer


def test_the_key_is_in_no_log_and_no_command_line(cluster: Cluster) -> None:
    processes = {psutil.Process(interface.process.pid) for interface in cluster.interfaces}
    processes |= {child for parent in processes for child in parent.children(recursive=True)}
    seen = [interface.log.read_text() for interface in cluster.interfaces]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            seen.append(" ".join(process.cmdline()))
    assert "org.apache.spark.deploy.master.Master" in "".join(seen)
    for value in [cluster.key, ui_filter.jws_token(cluster.key)]:
        assert value.reveal() not in "".join(seen)


@pytest.mark.parametrize("lacking", ["class", "token"])
def test_an_interface_that_cannot_be_closed_does_not_start(lacking: str, tmp_path: Path) -> None:
    home = spark_home("3.5")
    conf = {} if lacking == "token" else ui_filter.bearer_conf(secret.key())
    settings = properties(tmp_path, {"spark.ui.filters": ui_filter.CLASS_NAME, **conf})
    env = environment(home, tmp_path, settings, "" if lacking == "class" else compiled(home, tmp_path))
    port = free_port()
    command = commands(home, settings, 0, {"master": port, "worker": 0})["master"]
    with program(command, env, tmp_path / "master.log") as process:
        interface = Interface("master", port, process, tmp_path / "master.log")
        with stranger(interface):
            process.wait(PATIENCE)
    assert process.returncode != 0
    assert {status for _, status, _ in interface.answers} <= {404}
    assert ui_filter.CLASS_NAME in interface.log.read_text()


@pytest.mark.parametrize("name", ["plain", "with 'quotes\" and blanks", "naïve-ünïcode"])
def test_the_filter_compiles_in_any_directory_under_any_locale(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    directory = tmp_path / name
    directory.mkdir()
    with zipfile.ZipFile(compiled(spark_home("3.5"), directory)) as content:
        assert content.read("ood_runtime/BearerTokenFilter.class").startswith(b"\xca\xfe\xba\xbe")
