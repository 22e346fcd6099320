"""The only place where tests act as another user of the machine; only root can."""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Account:
    """A user, as whom commands are run with this user's rights and groups only."""

    name: str
    uid: int
    gid: int
    home: Path

    def run(
        self,
        argv: Sequence[str],
        *,
        input_text: str = "",
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, at most ``timeout`` seconds; its status is the caller's to judge."""
        return subprocess.run(
            argv,
            input=input_text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd="/",
            env=self.environment(),
            **self.identity(),
        )

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command that stays, with pipes for its output; the caller ends it."""
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=self.environment(env),
            **self.identity(),
        )

    def identity(self) -> dict[str, Any]:
        """The arguments that make subprocess run as this user; none for who is this user already."""
        if os.geteuid() == self.uid:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What this user's programs see of an environment."""
        own = {"HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "LANG": "C.UTF-8"}
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", **own, **(more or {})}


def account(name: str) -> Account:
    """The account of this name. Raises KeyError when there is none."""
    entry = pwd.getpwnam(name)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def user_of_tests() -> Account:
    """Whose sessions the tests start: who runs them, or for root (who may not) the user made for it."""
    if os.geteuid() != 0:
        return account(pwd.getpwuid(os.geteuid()).pw_name)
    return _made_by_check("OOD_TEST_USER")


def second_user() -> Account:
    """Another user, the enemy. Only root can act as one; skips for everybody else."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who can act as two users")
    return _made_by_check("OOD_TEST_MALLORY")


def _made_by_check(variable: str) -> Account:
    name = os.environ.get(variable)
    if not name:
        pytest.skip(f"needs the user named by {variable}, whom ./check makes as root")
    return account(name)
