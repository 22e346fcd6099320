"""Puts TLS in front of a server of the session that has none: whatever comes over TLS is handed on as it is.

    python -m ood_runtime.tls_relay FILE

FILE is what ``tls_front`` writes.
"""

import asyncio
import contextlib
import json
import logging
import ssl
import sys
from pathlib import Path
from typing import Any

from ood_runtime import ports

_PIECE = 64 * 1024  # bytes
_LOOPBACK = "127.0.0.1"


async def serve(settings: dict[str, Any]) -> None:
    """Serve for ever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*settings["tls"])
    target = int(settings["target"])

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            await _hand_on(reader, writer, target)

    server = await asyncio.start_server(relay, settings["address"], settings["port"], ssl=context)
    async with server:
        await server.serve_forever()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    """Both ways, until one side has ended: over TLS that can only be the end of both."""
    if not ports.same_user(ports.listeners(target)):
        return  # whoever has taken the port of a server that has ended must not get a password
    there, to_there = await asyncio.open_connection(_LOOPBACK, target)
    with contextlib.closing(to_there):
        ways = [asyncio.ensure_future(_pour(reader, to_there)), asyncio.ensure_future(_pour(there, writer))]
        done, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in rest:
            way.cancel()
        await asyncio.gather(*done, *rest, return_exceptions=True)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        sink.write(piece)
        await sink.drain()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
