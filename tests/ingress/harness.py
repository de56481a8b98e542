"""A relay on a real socket, with upstreams whose every byte the test decides."""

import asyncio
import functools
import json
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.model import Split
from workerd_faas.domain.routing import FunctionRoutes, Route, RoutingTable
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.service import Ingress
from workerd_faas.usecases.ports import Cells

P = ParamSpec("P")
T = TypeVar("T")

VERSION = "11111111-2222-4333-8444-555555555555"
OTHER_VERSION = "99999999-2222-4333-8444-555555555555"
ACCOUNT = "a" * 32
HOST = b"Host: hello.example.com\r\n"
_TASKS: set[asyncio.Task[Any]] = set()
"""The loop itself does not keep them."""

GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


def in_asyncio(
    test: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Deferred[T]]:
    """
    Run an asyncio coroutine as a test of trial's.
    """

    @functools.wraps(test)
    def run(self: Any, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        task = loop().create_task(test(self, *args, **kwargs))
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)
        return Deferred.fromFuture(task)

    return cast(Callable[Concatenate[Any, P], Deferred[T]], run)


def loop() -> asyncio.AbstractEventLoop:
    """
    The reactor's.
    """
    return asyncio.get_event_loop_policy().get_event_loop()


async def twisted(awaitable: Coroutine[Deferred[Any], Any, T]) -> T:
    """
    Await one of Twisted's coroutines in one of asyncio's.
    """
    return await Deferred.fromCoroutine(awaitable).asFuture(loop())


async def until(condition: Callable[[], Any]) -> None:
    """
    Wait for something that must come to be; the test's time-out is the bound.
    """
    while not condition():
        await asyncio.sleep(0.005)


@attrs.define(eq=False)
class Wire:
    """
    One end of a connection, in the hands of the test.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heads: int = 0

    async def send(self, data: bytes) -> None:
        """
        Write and wait until it is taken.
        """
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """
        Up to the next empty line.
        """
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.heads += 1
        return head

    async def response(self, *, head_only: bool = False) -> "Response":
        """
        The next response, interim ones left out.
        """
        while True:
            head = await self.head()
            status = int(head.split(b" ", 2)[1])
            if status >= 200 or status == 101:
                break
        fields = fields_of(head)
        if head_only or status in (101, 204, 304):
            body = b""
        elif b"transfer-encoding" in fields:
            body = await self.chunks()
        elif b"content-length" in fields:
            body = await self.reader.readexactly(int(fields[b"content-length"]))
        else:
            body = await self.reader.read()
        return Response(status, head, fields, body)

    async def request(self) -> "Request":
        """
        The next request.
        """
        head = await self.head()
        fields = fields_of(head)
        body = b""
        if b"transfer-encoding" in fields:
            body = await self.chunks()
        elif b"content-length" in fields:
            body = await self.reader.readexactly(int(fields[b"content-length"]))
        return Request(head, fields, body)

    async def chunks(self) -> bytes:
        """
        A chunked body, read in the plainest way.
        """
        body = b""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            if not size:
                assert await self.reader.readexactly(2) == b"\r\n"
                return body
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"

    async def rest(self) -> bytes:
        """
        Everything until the other side closes.
        """
        return await self.reader.read()

    async def ended(self) -> bool:
        """
        Wait until nothing more can come; whether that was a reset.
        """
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        """
        Close as programs do.
        """
        self.writer.close()

    def reset(self) -> None:
        """
        Close as dying machines do.
        """
        sock = self.writer.get_extra_info("socket")
        if sock is None:
            return  # It is closed already.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@attrs.frozen
class Response:
    """
    What a client read.
    """

    status: int
    head: bytes
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def json(self) -> Any:
        """
        The body as JSON.
        """
        return json.loads(self.body)

    @property
    def code(self) -> int:
        """
        Of a problem in our envelope.
        """
        code: int = self.json["errors"][0]["code"]
        return code


@attrs.frozen
class Request:
    """
    What an upstream read.
    """

    head: bytes
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def line(self) -> bytes:
        """
        The request line.
        """
        return self.head.split(b"\r\n", 1)[0]


def fields_of(head: bytes) -> dict[bytes, bytes]:
    """
    A head's fields; a repeated one must not go unnoticed.
    """
    fields: dict[bytes, bytes] = {}
    for line in head[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        assert name not in fields, f"{name!r} twice in {head!r}"
        fields[name] = value.strip()
    return fields


Script = Callable[[Wire], Awaitable[None]]


async def say_hello(wire: Wire) -> None:
    """
    Answer every request with its own line.
    """
    while True:
        try:
            request = await wire.request()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        await wire.send(ok(request.line))


def ok(body: bytes, extra: bytes = b"") -> bytes:
    """
    A plain response.
    """
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body)


class Cell:
    """
    A process of ours that is none: an upstream on a unix socket that follows a script.
    """

    def __init__(self, directory: Path, label: str) -> None:
        self.upstream = Upstream(str(directory / label), label)
        self.script: Script = say_hello
        self.connections = 0
        self.wires: list[Wire] = []
        self.errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """
        Accept.
        """
        self._server = await asyncio.start_unix_server(
            self._serve, self.upstream.address, limit=2**20
        )

    async def stop(self) -> None:
        """
        Die: nobody accepts any more, and what was open is cut.
        """
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def asked(self) -> int:
        """
        How many requests have come, on all connections.
        """
        return sum(wire.heads for wire in self.wires)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        wire = Wire(reader, writer)
        self.wires.append(wire)
        try:
            await self.script(wire)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - `tearDown` raises it
            self.errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()


class FakeCells:
    """
    `Cells` in the hands of the test.

    Attributes:
        ready: What `upstream` gives.
        wishes: Callbacks of those who wait.
    """

    def __init__(self) -> None:
        self.ready: Upstream | None = None
        self.at_once: Upstream | Problem | None = None
        self.wishes: list[Callable[[Upstream | Problem], None]] = []
        self.asked: list[Route] = []

    def upstream(self, route: Route) -> Upstream | None:
        self.asked.append(route)
        return self.ready

    def when_ready(
        self, route: Route, then: Callable[[Upstream | Problem], None]
    ) -> Callable[[], None]:
        if self.at_once is not None:
            then(self.at_once)
            return lambda: None
        self.wishes.append(then)
        return lambda: self.wishes.remove(then)

    def version_removed(self, account_id: str, version_id: str) -> None:
        pass

    def come_up(self, result: Upstream | Problem) -> None:
        """
        Grant all wishes.
        """
        wishes, self.wishes = self.wishes, []
        for then in wishes:
            then(result)


_check: type[Cells] = FakeCells


def routing_table() -> RoutingTable:
    """
    One function with two versions and an alias, one that is split, one without deployment.
    """
    table = RoutingTable()
    table.load(
        [
            FunctionRoutes(
                function="hello",
                account_id=ACCOUNT,
                splits=(Split(version_id=VERSION, percentage=100),),
                aliases={"staging": OTHER_VERSION},
                versions=[VERSION, OTHER_VERSION],
            ),
            FunctionRoutes(
                function="split",
                account_id=ACCOUNT,
                splits=(
                    Split(version_id=VERSION, percentage=50),
                    Split(version_id=OTHER_VERSION, percentage=50),
                ),
                aliases={},
                versions=[VERSION, OTHER_VERSION],
            ),
            FunctionRoutes(
                function="twins",
                account_id=ACCOUNT,
                splits=(),
                aliases={},
                versions=["abcdef01-1", "abcdef01-2"],
            ),
        ]
    )
    return table


class RelayCase(TestCase):
    """
    Each test gets a relay, a cell and an API; after each, nothing may be left in flight.
    """

    timeout = 120
    limits: ClassVar[RelayLimits] = RelayLimits(tick_seconds=0.02)
    listen: ClassVar[Sequence[str]] = ("tcp:0:interface=127.0.0.1",)
    options: ClassVar[dict[str, Any]] = {}

    @in_asyncio
    async def setUp(self) -> None:  # type: ignore[override]
        # Not `addCleanup`: trial calls that before `tearDown`.
        self.temporary = tempfile.TemporaryDirectory(prefix="wfi-")
        self.directory = Path(self.temporary.name)
        self.bugs: list[dict[str, Any]] = []
        loop().set_exception_handler(lambda _, context: self.bugs.append(context))
        self.cell = Cell(self.directory, "cell")
        self.api = Cell(self.directory, "api")
        await self.cell.start()
        await self.api.start()
        self.cells = FakeCells()
        self.cells.ready = self.cell.upstream
        self.wires: list[Wire] = []
        self.ingress = self.make_ingress()
        await twisted(self.ingress.start())

    def make_ingress(self, **options: Any) -> Ingress:
        """
        A relay that is not started.
        """
        given: dict[str, Any] = {
            "reactor": reactor,
            "listen": self.listen,
            "base_domain": "example.com",
            "routes": routing_table(),
            "cells": self.cells,
            "api": self.api.upstream,
            "limits": self.limits,
            **self.options,
            **options,
        }
        return Ingress(**given)

    @in_asyncio
    async def tearDown(self) -> None:  # type: ignore[override]
        for wire in self.wires:
            wire.close()
        await until(lambda: self.ingress.stats().in_flight == 0)
        await twisted(self.ingress.stop())
        await self.cell.stop()
        await self.api.stop()
        self.temporary.cleanup()
        loop().set_exception_handler(None)
        assert not self.bugs, self.bugs
        stats = self.ingress.stats()
        assert not self.cell.errors + self.api.errors, self.cell.errors + self.api.errors
        assert stats.connections == stats.in_flight == stats.tunnels == 0, stats
        assert stats.upstream_connections == 0, stats
        assert self.cell.upstream.in_flight == self.api.upstream.in_flight == 0

    async def connect(self, **options: Any) -> Wire:
        """
        A client's connection.
        """
        address = self.ingress.addresses[0]
        reader, writer = await asyncio.open_connection(
            address.host, address.port, limit=2**20, **options
        )
        wire = Wire(reader, writer)
        self.wires.append(wire)
        return wire

    async def connect_narrow(self) -> Wire:
        """
        A client's connection that holds little in the kernel, and does not read yet.
        """
        address = self.ingress.addresses[0]
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setblocking(False)
        await loop().sock_connect(sock, (address.host, address.port))
        wire = Wire(*await asyncio.open_connection(sock=sock, limit=2**20))
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        self.wires.append(wire)
        return wire

    async def ask(self, data: bytes) -> Response:
        """
        One request on a connection of its own.
        """
        wire = await self.connect()
        await wire.send(data)
        return await wire.response()

    def script(self, script: Script) -> None:
        """
        What the cell does with each connection from now on.
        """
        self.cell.script = script
