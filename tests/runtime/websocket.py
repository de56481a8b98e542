"""A WebSocket client over a unix socket, just enough for one exchange."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from websockets.asyncio.client import unix_connect


async def _echo(path: str, version: str, text: str) -> str:
    headers = {"wfaas-cf": json.dumps({"version": version})}
    connecting = unix_connect(
        path, "ws://fn.example.test/", additional_headers=headers, close_timeout=0.1
    )
    async with connecting as socket:
        await socket.send(text)
        answer = await socket.recv()
        assert isinstance(answer, str)
        return answer


def echo(reactor: Any, path: str, version: str, text: str) -> "Deferred[str]":
    """
    Connect, send `text`, give what comes back.
    """
    loop = reactor._asyncioEventloop
    done: Deferred[str] = Deferred.fromFuture(loop.create_task(_echo(path, version, text)))
    return done
