"""One relay takes another one's place."""

import asyncio
import os
import socket
import stat
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.ingress.harness import (
    GET,
    HOST,
    VERSION,
    Cell,
    FakeCells,
    RelayCase,
    Wire,
    in_asyncio,
    ok,
    twisted,
    until,
)
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.passing import Passage, PassedCells
from workerd_faas.ingress.service import Ingress

API = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


class Passing(RelayCase):
    """
    A second relay with a cell of its own, on the first one's socket.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(tick_seconds=0.02, last_request_seconds=0.3)

    async def next_relay(self, inherited: Mapping[str, int] | None = None) -> Ingress:
        """
        The relay that takes over, with its ports open and its passage ready.
        """
        self.passage = Passage.open(self.directory / "passage")
        self.next_cell = Cell(self.directory, "next")
        await self.next_cell.start()
        cells = FakeCells()
        cells.ready = self.next_cell.upstream
        taking_over = self.make_ingress(cells=cells)
        given = {endpoint: os.dup(fd) for endpoint, fd in self.ingress.descriptors.items()}
        await twisted(taking_over.open(inherited or given))
        return taking_over

    async def end(self, taking_over: Ingress) -> None:
        """
        Stop what `next_relay` started.
        """
        self.passage.close()
        await twisted(taking_over.stop())
        await self.next_cell.stop()

    @in_asyncio
    async def test_nothing_fails(self) -> None:
        """
        What is in flight is finished by the old one; what comes on its connections, and what
        connects, waits for the new one and is answered by it, which knows the clients.
        """
        answer = asyncio.Event()

        async def slowly(wire: Wire) -> None:
            await wire.request()
            await answer.wait()
            await wire.send(ok(b"old"))

        seen: list[bytes] = []

        async def again(wire: Wire) -> None:
            while True:
                request = await wire.request()
                seen.append(request.fields[b"x-forwarded-for"])
                assert VERSION.encode() in request.fields[b"wfaas-cf"]
                await wire.send(ok(b"new"))

        busy, idle = await self.connect(), await self.connect()
        await idle.send(API)
        assert (await idle.response()).status == 200
        self.script(slowly)
        await busy.send(GET)
        await until(lambda: self.cell.upstream.in_flight)
        taking_over = await self.next_relay()
        self.next_cell.script = again
        await twisted(self.ingress.hold_api(1))
        self.ingress.hold_all()
        late = await self.connect()
        await late.send(GET)
        await idle.send(GET + API)
        await until(lambda: self.ingress._relay.held)
        self.ingress.pass_on(str(self.passage.path))
        await until(lambda: self.ingress.stats().in_flight == 2)
        draining = asyncio.ensure_future(twisted(self.ingress.drain(20)))
        await twisted(taking_over.start())
        await twisted(taking_over.serve_passed(self.passage))
        for wire in (idle, late):
            response = await wire.response()
            assert response.body == b"new"
        assert seen == [b"127.0.0.1", b"127.0.0.1"]
        answer.set()
        response = await busy.response()
        assert (response.body, response.fields[b"connection"]) == (b"old", b"close")
        await busy.rest()
        busy.close()
        await idle.rest()
        idle.close()
        await draining
        late.close()
        assert (await self.asked(taking_over)).status == 200
        await self.end(taking_over)

    async def asked(self, taking_over: Ingress) -> Any:
        """
        A response from the new one's port.
        """
        address = taking_over.addresses[0]
        wire = Wire(*await asyncio.open_connection(address.host, address.port))
        await wire.send(GET)
        response = await wire.response()
        wire.close()
        return response

    @in_asyncio
    async def test_api_first(self) -> None:
        """
        Requests to the API wait for the new one while functions are still served by the old one;
        those of the API that do not end in time are cut off.
        """

        async def never(wire: Wire) -> None:
            await wire.request()
            await asyncio.Event().wait()

        self.api.script = never
        stuck = await self.connect()
        await stuck.send(API)
        await until(lambda: self.api.upstream.in_flight)
        taking_over = await self.next_relay()
        await twisted(self.ingress.hold_api(0.1))
        assert (await stuck.response()).status == 502
        assert (await self.ask(GET)).status == 200
        waiting = await self.connect()
        await waiting.send(API)
        await until(lambda: self.ingress.stats().in_flight)
        self.api.script = Cell(self.directory, "unused").script
        self.ingress.pass_on(str(self.passage.path))
        await twisted(taking_over.start())
        await twisted(taking_over.serve_passed(self.passage))
        assert (await waiting.response()).status == 200
        await twisted(self.ingress.drain(1))
        await self.end(taking_over)
        self.flushLoggedErrors()

    @in_asyncio
    async def test_taken_back(self) -> None:
        """
        When the new one fails, the old one serves as before, what has waited too.
        """
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).status == 200
        taking_over = await self.next_relay()
        await twisted(self.ingress.hold_api(1))
        patient = await self.connect()
        await patient.send(API)
        await until(lambda: self.ingress.stats().in_flight)
        self.ingress.hold_all()
        late = await self.connect()
        await late.send(GET)
        body = await self.connect()
        await body.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nhe")
        await wire.send(GET[:20])
        await body.send(b"llo!")
        await self.end(taking_over)
        await twisted(self.ingress.take_back())
        await wire.send(GET[20:] + API)
        for each in (late, wire, wire, patient, body):
            assert (await each.response()).status == 200

    @in_asyncio
    async def test_just_in_time(self) -> None:
        """
        A connection that is let in, or still idle, when the relay begins to drain gets one answer.
        """
        idle = await self.connect()
        await until(lambda: self.ingress.stats().connections == 1)
        draining = asyncio.ensure_future(twisted(self.ingress.drain(20)))
        await until(lambda: not self.ingress.addresses)
        await idle.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi")
        response = await idle.response()
        assert (response.status, response.fields[b"connection"]) == (200, b"close")
        assert await idle.rest() == b""
        idle.close()
        await draining


class Sockets(RelayCase):
    """
    Whose they are.
    """

    @in_asyncio
    async def test_unix(self) -> None:
        """
        A unix socket that is passed on keeps its file and its mode when the first relay ends, and
        loses its file with the last.
        """
        path = self.directory / "front"
        first = self.make_ingress(listen=[f"unix:{path}:mode=640"])
        await twisted(first.start())
        second = self.make_ingress(listen=[f"unix:{path}:mode=640"])
        await twisted(second.open({e: os.dup(fd) for e, fd in first.descriptors.items()}))
        first.hold_all()
        first.pass_on("/nowhere")
        await twisted(first.stop())
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        wire = Wire(*await asyncio.open_unix_connection(str(path)))
        await wire.send(GET)
        await twisted(second.start())
        assert (await wire.response()).status == 200
        wire.close()
        await twisted(second.stop())
        assert not path.exists()

    @in_asyncio
    async def test_not_listening(self) -> None:
        """
        What was inherited but does not listen is refused.
        """
        ingress = self.make_ingress()
        with socket.socket() as idle:
            failed = twisted(ingress.open({self.listen[0]: os.dup(idle.fileno())}))
            try:
                await failed
            except Exception as error:  # noqa: BLE001 - its kind is not the point
                assert "not a listening stream socket" in str(error)
            else:
                raise AssertionError("it was taken")


def test_wishes_are_passed() -> None:
    """
    Who waits for a cell is told of the successor, once, and so is who asks later; without one, they
    are told what they would have been told.
    """
    inner = FakeCells()
    cells = PassedCells(inner)
    told: list[Upstream | Problem] = []
    route = Route("a", "state", "")
    cells.when_ready(route, told.append)
    cells.when_ready(route, told.append)()
    assert len(inner.wishes) == 1
    cells.hold()
    cells.when_ready(route, told.append)
    cells.when_ready(route, told.append)()
    inner.ready = Upstream("/own", "own")
    assert (told, inner.wishes, cells.upstream(route)) == ([], [], None)
    cells.take_back()
    assert cells.upstream(route) is inner.ready
    refused = Problem(kind=Kind.UNAVAILABLE, message="no")
    inner.come_up(refused)
    assert told == [refused, refused]
    cells.when_ready(route, told.append)
    cells.hold()
    successor = Upstream("/next", "next")
    cells.pass_on(successor)
    assert (told, inner.wishes) == ([refused, refused, successor], [])
    assert cells.upstream(route) is successor
