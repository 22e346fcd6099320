"""The image of rstudio-spark, with a stand-in for RStudio Server, whose package cannot be had everywhere.

Another image takes minutes to build, so these tests run where OOD_TEST_ALL_IMAGES is set.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import StartSession
from tests.containers import images
from tests.containers.images import Apptainer, newest_code
from tests.containers.test_image import gone, run, start, user_processes
from tests.integration.test_r_with_spark import CLIENT, SAID, SUM
from tests.standins.rserver_options import Release
from tests.support.rstudio import RStudioClient
from tests.support.running import RunningSession

pytestmark = [
    pytest.mark.root,
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("OOD_TEST_ALL_IMAGES" not in os.environ, reason="OOD_TEST_ALL_IMAGES is not set"),
]

USUAL: Release = (2026, 5, 0)


@pytest.fixture(scope="session")
def rstudio_image(runtime: Apptainer) -> Path:
    """The image of singularity/rstudio-spark.def."""
    return images.image(runtime, "rstudio-spark", "--build-arg", f"deb={images.rstudio_package(USUAL)}")


def test_its_own_test_passes(runtime: Apptainer, rstudio_image: Path) -> None:
    said = run(runtime, "test", rstudio_image, within=300)
    assert "RStudio Server" in said and "the session is ready" in said


def test_a_session_wholly_inside(runtime: Apptainer, rstudio_image: Path, short_tmp: Path) -> None:
    session = start(runtime, rstudio_image, (), short_tmp, app="rstudio-spark")
    try:
        with signed_in(session) as r:
            compute(r, short_tmp)
        session.process.send_signal(signal.SIGTERM)
        session.wait()
        session.assert_nothing_left()
        assert not gone(lambda: user_processes(rstudio_image))
    finally:
        session.kill_remains()


def test_rstudio_and_spark_inside_started_from_the_node(
    runtime: Apptainer, rstudio_image: Path, start_session: StartSession, short_tmp: Path
) -> None:
    session = start_session(
        "rstudio-spark",
        "--set", f"environment.container={rstudio_image}",
        env={"PATH": runtime.search, "OF_THE_JOB": "yes", **newest_code()},
    )  # fmt: skip
    with signed_in(session) as r:
        compute(r, short_tmp)
        assert "yes" in r.run('Sys.getenv("OF_THE_JOB")')
        assert "/opt/ood-runtime/" in r.run('Sys.getenv("SPARK_HOME")')


@contextmanager
def signed_in(session: RunningSession) -> Iterator[RStudioClient]:
    """Somebody who has signed in to a session that is ready."""
    connection = session.connection()
    client = RStudioClient(f"http://{connection['host']}:{connection['port']}/")
    assert client.sign_in(str(connection["username"]), str(connection["password"])) == ""
    yield client
    client.close()


def compute(r: RStudioClient, place: Path) -> None:
    """R of the image, as a driver of the cluster in the image."""
    code = place / "client.R"
    code.write_text(CLIENT.read_text())
    code.chmod(0o644)
    r.run(f'source("{code}"); backend <- backend_start(); spark <- backend_session(backend)')
    assert r.run(f'backend_query(backend, spark, "{SUM}")').strip() == SAID
