"""The ood-runtime of the node starts all parts in the image: ``environment.container``."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartSession
from tests.containers.images import Apptainer, newest_code
from tests.containers.test_image import SUM, gone, user_processes
from tests.support.jupyter import Connection, JupyterClient
from tests.support.running import RunningSession

pytestmark = [pytest.mark.root, pytest.mark.integration, pytest.mark.timeout(1800)]

WHERE = "import os, sys; (sys.prefix, os.environ['SITE_WORD'], open('/data of the site/word').read())"
EXECUTOR = "sc.parallelize([0], 1).map(lambda _: __import__('sys').prefix).collect()"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_all_parts_run_in_the_image(
    runtime: Apptainer,
    jupyter_image: Path,
    end: signal.Signals,
    start_session: StartSession,
    log_in_to: Callable[[Connection], JupyterClient],
    short_tmp: Path,
) -> None:
    (short_tmp / "word").write_text("bound")
    session = start_session(
        "jupyter-spark",
        "--set", f"environment.container={jupyter_image}",
        "--set", f"environment.binds=[\"{short_tmp}/word:/data of the site/word:ro\"]",
        directory=short_tmp / 'it\'s a "session", too',
        env={"PATH": runtime.search, "SITE_WORD": "of the job", "JAVA_HOME": "/of a module", **newest_code()},
    )  # fmt: skip
    connection = session.connection()
    if end is signal.SIGKILL:
        look(session, log_in_to(connection))
        session.process.kill()
        session.wait()
    else:
        assert session.stop() == 128 + signal.SIGTERM
    assert not gone(lambda: user_processes(jupyter_image))


def look(session: RunningSession, client: JupyterClient) -> None:
    """The notebook, its executors and all programs are the image's, and see what is bound and what the job has."""
    kernel = client.start_kernel()
    assert client.run(kernel, SUM).strip() == "499500"
    assert client.run(kernel, WHERE).strip() == "('/opt/ood-runtime', 'of the job', 'bound')"
    assert client.run(kernel, EXECUTOR).strip() == "['/opt/ood-runtime']"
    lines = session.processes().values()
    inside = [
        line for line in lines if line.startswith("/opt/ood-runtime/java/bin/java") or " /opt/ood-runtime/" in line
    ]
    assert len(inside) >= 4, lines
