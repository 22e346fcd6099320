"""What a port is that a stranger has talked to: by nothing but its answers."""

import re
from collections.abc import Mapping

from tools.port_table import Hears

_REFUSED = ("400", "401", "403", "404", "405", "426")
_LOGIN = re.compile(r"/(?:login|auth-sign-in|unsupported_browser\.htm)\b")
_NO_REQUEST = re.compile(r"<p>Error code: (?:400|505)</p>")
# The messages of Spark's network protocol that say no: org.apache.spark.network.protocol.Message.Type
_FAILURES = "\x02\x05\x08"
_HTTP2 = "HTTP/2"
_UNAUTHENTICATED = "grpc-status\x0216"


def kind(answers: Mapping[str, str]) -> str:
    """How a port refuses every saying, a Hears; else, in words, what it said beside."""
    found = {_one(said, got) for said, got in answers.items() if said != "tls"}
    for much, little in ((Hears.GRPC, _HTTP2), (Hears.MOVED, Hears.CLOSED)):
        if much in found:
            found.discard(little)  # for what it takes for no request
    loud = found - {Hears.SILENCE} or {Hears.SILENCE}
    return loud.pop() if len(loud) == 1 else " and ".join(sorted(map(str, loud)))


def _one(said: str, got: str) -> str:
    """What this answer is of; all of it, where it is no refusal that we know."""
    looks = (
        (got in ("", "refused"), Hears.SILENCE),  # it may end meanwhile
        (got.startswith("HTTP/1."), _web(got)),
        # A server made with Python's library, as the stand-in for rserver is, to what is no request.
        (got.startswith("<!DOCTYPE HTML>") and bool(_NO_REQUEST.search(got)), Hears.CLOSED),
        (len(got) > 9 and got[8] in _FAILURES and said.startswith(("rpc", "stream")), Hears.FAILURE),
        (got.startswith("!") and not got.startswith("!y"), Hears.PY4J),  # "yes"
        (_UNAUTHENTICATED in got, Hears.GRPC),
        # First: the last byte of its process number may be that of a frame.
        (len(got) == 4 or got[4:] == "\0\0\0\x03err", Hears.WORKER),
        # A frame of HTTP/2 for who does not speak it: that there is such a server, no more.
        (got.startswith("\0\0") and got[3:4] in ("\x04", "\x07"), _HTTP2),
        (got.startswith("\xff\0\0\0"), Hears.ZEROMQ),
        (got in ("\0\0\0\x03err", "\0\0\0\x04err\0"), Hears.ERR),
    )
    return next((str(name) for fits, name in looks if fits), f"{said}: {got!r}")


def _web(got: str) -> str:
    """What an answer of a web server is."""
    head, _, body = got.partition("\r\n\r\n")
    status = (re.match(r"HTTP/1\.\d (\d+)", head) or ["", "0"])[1]
    location = (re.search(r"^location: (.*)$", head, re.IGNORECASE | re.MULTILINE) or ["", ""])[1]
    if status == "302" and location.startswith("https://") and not body:
        return Hears.MOVED
    if status in _REFUSED or (status == "302" and _LOGIN.search(location)):
        return Hears.CLOSED
    return got
