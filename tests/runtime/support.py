"""What the tests of the runtime share: a real workerd, versions in memory, a client."""

import functools
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial import unittest
from twisted.web.client import URI, Agent, FileBodyProducer, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind, Code, Module, ModuleKind
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime import binary
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.options import FleetOptions
from workerd_faas.runtime.uids import Uids
from workerd_faas.runtime.walls import Walls, users_for
from workerd_faas.wire.bundle import load_document_for_check

ACCOUNT = "a" * 32
OTHER = "b" * 32


def workerd() -> Path:
    """
    The project's own workerd.
    """
    return binary.find().path


def walls() -> Walls:
    """
    What stands around cells where the tests run.
    """
    return Walls(uids=_uids())


@functools.cache
def _uids() -> Uids | None:
    users = users_for(None, Path("/tests") / str(os.getpid()))
    if users is None:
        return None
    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    path = Path(name)
    try:
        return Uids.between(*users, path)
    finally:
        path.unlink()


def module(name: str, content: str | bytes, kind: ModuleKind = ModuleKind.ESM) -> Module:
    """
    One module.
    """
    data = content.encode() if isinstance(content, str) else content
    return Module(name=name, kind=kind, content=data)


def code(
    *modules: Module | str,
    date: str = "2026-01-01",
    flags: Sequence[str] = (),
    env: Mapping[str, Any] | None = None,
    main: str | None = None,
) -> Code:
    """
    An upload; text stands for a module index.js.
    """
    made = tuple(module("index.js", m) if isinstance(m, str) else m for m in modules)
    return Code(
        main_module=main or made[0].name,
        modules=made,
        compatibility_date=date,
        compatibility_flags=tuple(flags),
        bindings=tuple(
            Binding(name=name, kind=BindingKind.JSON, value=value)
            for name, value in (env or {}).items()
        ),
    )


@attrs.define
class MemoryLoader:
    """
    Versions in memory; those in `owners` are that account's alone, the others everybody's.
    """

    versions: dict[str, Code] = attrs.Factory(dict)
    owners: dict[str, str] = attrs.Factory(dict)
    broken: Problem | None = None
    asked: list[tuple[str | None, str]] = attrs.Factory(list)
    wait: Callable[[], "Deferred[None]"] | None = None

    async def load_document(self, account_id: str | None, version_id: str) -> bytes:
        """
        See `VersionLoader`.
        """
        self.asked.append((account_id, version_id))
        if self.wait is not None:
            await self.wait()
        if self.broken is not None:
            raise self.broken
        owner = self.owners.get(version_id, account_id)
        if version_id not in self.versions or account_id not in (None, owner):
            raise Problem(kind=Kind.VERSION_NOT_FOUND, message="no such version")
        return load_document_for_check(self.versions[version_id], f"fn-{version_id}")


@attrs.define
class MemoryTargets:
    """
    Who answers for functions that others call: what a test says.
    """

    live: dict[str, list[tuple[float, str]]] = attrs.Factory(dict)
    asked: list[tuple[str, str, str | None]] = attrs.Factory(list)

    def shares(
        self, account_id: str, function: str, selector: str | None
    ) -> Sequence[tuple[float, str]]:
        """
        See `CallTargets`.
        """
        self.asked.append((account_id, function, selector))
        if function not in self.live:
            raise Problem(kind=Kind.TARGET_NOT_FOUND, message="There is no such function.")
        return self.live[function]


@attrs.define
class RecordingEvents:
    """
    Keeps every trace.
    """

    traces: list[tuple[str, str, Mapping[str, Any]]] = attrs.Factory(list)
    losses: list[tuple[str, int, int]] = attrs.Factory(list)
    watched: list[str] = attrs.Factory(list)

    def invocation(self, route: Route, trace: Mapping[str, Any], ended: Any) -> None:
        """
        See `FunctionEvents`.
        """
        self.traces.append((route.function, route.version_id, trace))

    def lost(self, route: Route, invocations: int, dropped_lines: int) -> None:
        """
        See `FunctionEvents`.
        """
        self.losses.append((route.function, invocations, dropped_lines))

    def tailed(self, account_id: str | None) -> Sequence[str]:
        """
        See `FunctionEvents`.
        """
        return self.watched

    def printed(self) -> list[Any]:
        """
        All that was logged, first arguments only.
        """
        return [log["message"][0] for _, _, trace in self.traces for log in trace["logs"]]


@attrs.frozen
class Reply:
    """
    A whole answer.
    """

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        """
        The body as text.
        """
        return self.body.decode()

    @property
    def json(self) -> Any:
        """
        The body as JSON.
        """
        return json.loads(self.body)


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _ToSocket:
    reactor: Any
    path: str

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        Always the socket.
        """
        return UNIXClientEndpoint(self.reactor, self.path)


class Collector(Protocol):
    """
    Gathers a body; `received` grows while it comes.
    """

    def __init__(self) -> None:
        self.received = b""
        self.whole: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """
        See `Protocol`.
        """
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        See `Protocol`.
        """
        if reason.check(ResponseDone):
            self.whole.callback(self.received)
        else:
            self.whole.errback(reason)


async def body_of(response: IResponse) -> bytes:
    """
    All of it.
    """
    collector = Collector()
    response.deliverBody(collector)
    return await collector.whole


@attrs.frozen
class Client:
    """
    Speaks to a cell as the relay does.
    """

    reactor: Any

    async def begin(
        self,
        upstream: Upstream,
        version: str,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        method: str | None = None,
    ) -> IResponse:
        """
        The answer's head; its body is still to come.
        """
        agent = Agent.usingEndpointFactory(
            self.reactor,
            _ToSocket(self.reactor, upstream.address),
            pool=HTTPConnectionPool(self.reactor, persistent=False),
        )
        given = {
            "wfaas-cf": json.dumps({"version": version}),
            "cf-ray": "0123456789abcdef",
            "wfaas-proto": "https",
            **(headers or {}),
        }
        response: IResponse = await agent.request(
            (method or ("GET" if body is None else "POST")).encode(),
            b"http://fn.example.test" + path.encode(),
            Headers({name: [value] for name, value in given.items()}),
            None if body is None else FileBodyProducer(io.BytesIO(body)),
        )
        return response

    async def get(self, upstream: Upstream, version: str, path: str = "/", **more: Any) -> Reply:
        """
        One request and its whole answer, counted in `upstream` as the relay does.
        """
        upstream.begin()
        try:
            response = await self.begin(upstream, version, path, **more)
            return Reply(response.code, response.headers, await body_of(response))
        finally:
            upstream.end()


class RealCase(unittest.TestCase):
    """
    Tests with the real reactor, a runtime directory and real processes.
    """

    timeout = 120

    def setUp(self) -> None:
        """
        A short directory, as unix sockets need it.
        """
        from twisted.internet import reactor

        self.reactor: Any = reactor
        folder = tempfile.TemporaryDirectory(prefix="wf")
        self.addCleanup(folder.cleanup)
        self.directory = Path(folder.name)
        self.client = Client(reactor)
        self.loader = MemoryLoader()
        self.events = RecordingEvents()
        self.targets = MemoryTargets()

    async def fleet(self, bwrap: Path | None = None, **options: Any) -> Fleet:
        """
        A started fleet that is stopped when the test ends.
        """
        fleet = Fleet(
            reactor=self.reactor,
            binary=workerd(),
            directory=self.directory,
            loader=self.loader,
            events=self.events,
            targets=self.targets,
            walls=attrs.evolve(walls(), bwrap=bwrap),
            options=FleetOptions(**options),
        )
        await fleet.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(fleet.stop()))
        return fleet

    async def ready(self, fleet: Fleet, route: Route | None = None) -> Upstream:
        """
        An upstream for the route, waited for if need be.
        """
        result = await self.outcome(fleet, route)
        if isinstance(result, Problem):
            raise result
        return result

    async def outcome(self, fleet: Fleet, route: Route | None = None) -> Upstream | Problem:
        """
        What `when_ready` gives, or what is there already.
        """
        route = route or Route(ACCOUNT, "fn", "v")
        upstream = fleet.upstream(route)
        if upstream is not None:
            return upstream
        told: Deferred[Upstream | Problem] = Deferred()
        fleet.when_ready(route, told.callback)
        return await told

    async def until(self, condition: Callable[[], Any]) -> None:
        """
        Wait until something holds; the test's own time-out is the bound.
        """
        while not condition():
            await deferLater(self.reactor, 0.01)


def alive(pid: int) -> bool:
    """
    Whether a process is there and no zombie.
    """
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
