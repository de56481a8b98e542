"""The log of functions as calls: what is kept of it, and watching it live."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from workerd_faas.cli.client.address import is_loopback, resolvable
from workerd_faas.cli.client.api import Api, ApiError
from workerd_faas.cli.client.http import Unreachable
from workerd_faas.cli.client.scripts import AccountRef
from workerd_faas.cli.failure import Failure

Event = Mapping[str, Any]
"""A tail event, as Wrangler has it."""

SUBPROTOCOL: Final = "trace-v1"
ENDED: Final = 1000
"""The close code after which nothing more is to come."""

_PAGE: Final = 1000
_MAX_EVENT: Final = 8 << 20
_OPEN_SECONDS: Final = 10.0


class Disconnected(Exception):
    """
    The connection of a tail broke; a new tail may have more luck.
    """


@attrs.frozen
class LogsApi:
    """
    The log of an account's functions.
    """

    api: Api
    account: AccountRef

    def kept(self, function: str | None, query: Mapping[str, str], most: int) -> Sequence[Event]:
        """
        What is kept, the newest first.
        """
        where = ("logs",) if function is None else ("scripts", function, "logs")
        path = ("accounts", self.account.id, "workers", *where)
        found: list[Event] = []
        cursor = ""
        while len(found) < most:
            limit = {"limit": str(min(most - len(found), _PAGE))}
            more = {"cursor": cursor} if cursor else {}
            page, cursor = self.api.page(*path, query={**query, **limit, **more})
            found.extend(each for each in page if is_event(each))
            if not cursor:
                break
        return found

    def watch(self, function: str, filters: Sequence[Mapping[str, Any]]) -> Iterator[Event | None]:
        """
        Watch a function until the server ends it: first None, when all is ready, then events.

        Raises:
            Disconnected: the connection broke.
            Failure: the server refused, or speaks another protocol.
        """
        path = ("accounts", self.account.id, "workers", "scripts", function, "tails")
        made = self.api.call("POST", *path, document={"filters": list(filters)})
        if not isinstance(made, dict) or not isinstance(made.get("url"), str):
            raise Failure("The server's answer has not the expected shape; is `wrkst` too old?")
        try:
            yield from _events(made["url"])
        finally:
            # It may have ended by itself, with the server or with the function.
            with contextlib.suppress(ApiError, Unreachable):
                self.api.call("DELETE", *path, str(made.get("id")))


def is_event(found: Any) -> bool:
    """
    Whether it has what every tail event has.
    """
    return (
        isinstance(found, dict)
        and isinstance(found.get("logs"), list)
        and isinstance(found.get("exceptions"), list)
    )


def _events(url: str) -> Iterator[Event | None]:
    # Imported late: no other command needs it.
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    parts = urlsplit(url)
    host = parts.hostname or ""
    local = is_loopback(host)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    elsewhere: dict[str, Any] = {"address": (resolvable(host), port)} if local else {}
    try:
        with connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None if local else True,
            open_timeout=_OPEN_SECONDS,
            max_size=_MAX_EVENT,
            **elsewhere,
        ) as socket:
            yield None
            try:
                while True:
                    event = json.loads(socket.recv())
                    if is_event(event):
                        yield event
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else None
                if code != ENDED:
                    raise Disconnected(f"closed with code {code}") from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise Disconnected(type(error).__name__) from None
    except (InvalidURI, ValueError) as error:
        raise Unreachable(f"The tail of the server cannot be used: {error}.") from None
