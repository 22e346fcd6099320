"""What another user of the node can see of a session, and that the tests really act as other users."""

from pathlib import Path

import pytest

from tests.conftest import StartSession
from tests.support.accounts import Account, user_of_tests
from tests.support.jupyter import url_of

pytestmark = [pytest.mark.root, pytest.mark.e2e]

READ_COMMAND_LINES = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
STATUS_OF = """
import sys, urllib.request, urllib.error
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_tests_act_as_two_users_without_rights(mallory: Account) -> None:
    owner = user_of_tests()
    assert len({0, owner.uid, mallory.uid}) == 3
    for account in (owner, mallory):
        identity = account.run(["sh", "-c", "id -u; id -G; grep CapEff /proc/self/status"]).stdout.split()
        assert identity == [str(account.uid), str(account.gid), "CapEff:", "0" * 16]


def test_another_user_learns_no_secret_and_gets_no_answer(
    start_session: StartSession, mallory: Account, short_tmp: Path
) -> None:
    short_tmp.chmod(0o755)  # what protects the session must be the session's own
    session = start_session("jupyter-spark")
    connection = session.connection()

    secrets = session.secrets()
    assert len(secrets) > 2  # password, XSRF value and Spark's own
    seen = mallory.run(["sh", "-c", READ_COMMAND_LINES]).stdout
    assert "spark/master.args" in seen
    readable = mallory.run(["grep", "-rlE", "|".join(secrets), str(session.directory)]).stdout
    assert [secret for secret in secrets if secret in seen] == []
    assert readable == ""

    kernels = mallory.run(["/usr/bin/python3", "-c", STATUS_OF, url_of(connection) + "api/kernels"])
    assert kernels.stdout.strip() == "403", kernels
