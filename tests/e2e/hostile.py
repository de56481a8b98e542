"""Requests that nobody in their right mind sends, to every route there is."""

import copy
import http.client
import importlib
import json
import pkgutil
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final
from unittest.mock import MagicMock

import attrs

import workerd_faas.api
from tests.e2e.daemon import PATIENCE, Answer, Daemon
from workerd_faas.api.app import Api

BODIES: Final[Sequence[bytes]] = (
    b"",
    b"null",
    b"1",
    b'"x"',
    b"[]",
    b"{}",
    b"[null]",
    b"[[]]",
    b"[{}]",
    b"[1]",
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"a":NaN}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 6_000 + b"}",
    b'{"a":1,"a":2}',
    b'{"name":"\\ud800"}',
    b'{"name":"\xff"}',
    b"\xef\xbb\xbf{}",
    b'{"a":',
)

VALUES: Final[Sequence[Any]] = (
    None, True, -1, 10**300, 1.5, "", "\0", "x" * 100_000, [], [None], {}, {"a": 1}, "../..",
)  # fmt: skip

SEGMENTS: Final = (
    "%2F", "%00", "%2e%2e", "..", "%ff", "%ED%A0%80", "%0d%0a", "x" * 300, "UPPER", "'\";--", "%7F",
)  # fmt: skip

QUERIES: Final = (
    "?", "?page=0", "?page=%00", "?page=1&page=2", "?per_page=" + "9" * 30, "?limit=-1",
    "?cursor=" + "a" * 5000, "?prefix=%ff", "?since=9999-12-31T23:59:59-23:59",
    "?since=0001-01-01T00:00:00%2B23:59", "?until=NaN", "?page=%D9%A1", "?%00=%00",
)  # fmt: skip


@attrs.frozen
class Route:
    """
    A method and a path with its parameters in angle brackets.
    """

    method: str
    path: str

    def at(self, **arguments: str) -> str:
        """
        A path of it; parameters that are not given are `x`.
        """
        path = self.path.replace("<path:", "<")
        return re.sub("<([a-z]+)>", lambda found: arguments.get(found[1], "x"), path)

    @property
    def parameters(self) -> Sequence[str]:
        """
        Their names.
        """
        return re.findall(r"<(?:path:)?([a-z]+)>", self.path)


def routes() -> list[Route]:
    """
    All routes of the API that take a bearer and answer in its envelope.
    """
    areas = []
    for found in pkgutil.iter_modules(workerd_faas.api.__path__):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # twisted.web.static warns of itself
            module = importlib.import_module(f"workerd_faas.api.{found.name}")
        for name, kind in vars(module).items():
            if name.endswith("Routes") and name != "Routes" and kind.__module__ == module.__name__:
                areas.append(kind(**{each.alias: MagicMock() for each in attrs.fields(kind)}))
    return [
        Route(method, rule.rule)
        for rule in Api(areas).rules()
        for method in sorted(rule.methods - {"HEAD"})
        if rule.rule.startswith(("/accounts", "/user", "/memberships"))
    ]


def twisted(document: Any) -> Iterator[Any]:
    """
    The document with each of its values, itself included, replaced by each of `VALUES`.
    """
    for path in _paths(document):
        for value in VALUES:
            yield _put(document, path, value)


def _paths(document: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    inside = document.items() if isinstance(document, dict) else ()
    for key, value in enumerate(document) if isinstance(document, list) else inside:
        yield from _paths(value, (*above, key))


def _put(document: Any, path: Sequence[Any], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


class Hostile:
    """
    A client of the daemon's API on one connection, which holds every answer to the envelope.
    """

    def __init__(self, daemon: Daemon) -> None:
        """
        Args:
            daemon: Whose token is used.
        """
        self._daemon = daemon
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
        self.account = daemon.account
        self.wrong: list[tuple[str, str, str, int, bytes]] = []
        self.asked = 0

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """
        One request; what is wrong with its answer is kept.
        """
        sent = {"Host": self._daemon.base_domain, "Authorization": f"Bearer {self._daemon.token}"}
        self._connection.request(
            method, f"/client/v4{path}", body=body, headers={**sent, **headers}
        )
        response = self._connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        self.asked += 1
        if answer.status >= 500 or not _is_envelope(answer):
            shown = (body or b"")[:80].decode("latin-1")
            self.wrong.append((method, path[:200], shown, answer.status, answer.body[:200]))
        return answer

    def close(self) -> None:
        """
        Close the connection.
        """
        self._connection.close()


def _is_envelope(answer: Answer) -> bool:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return answer.status == 200 and answer.headers.get("Content-Type") != "application/json"
    return (
        isinstance(document, dict)
        and document.keys() >= {"success", "result", "errors", "messages"}
        and document["success"] is (answer.status < 400)
    )
