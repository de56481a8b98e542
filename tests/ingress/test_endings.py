"""A process ends with requests in flight: who is told what, and who is asked once more."""

import asyncio
from typing import Any, ClassVar

from tests.ingress.harness import (
    GET,
    HOST,
    Cell,
    RelayCase,
    Wire,
    in_asyncio,
    ok,
    until,
)
from workerd_faas.domain.admission import Admission, TrafficLimits
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.termination import Termination, Verdict
from workerd_faas.ingress.limits import RelayLimits

POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
PUT = b"PUT" + POST[4:]
CRASHED = Verdict(termination=Termination.CRASH, again=True)
TERMINATION = b"x-workerd-faas-termination"


class EndingCase(RelayCase):
    """
    A cell that takes requests and never answers, and its successor.
    """

    limits: ClassVar[RelayLimits] = RelayLimits(tick_seconds=0.02, refused_seconds=10)

    @in_asyncio
    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp().asFuture(asyncio.get_running_loop())
        self.script(self.never)
        self.next = Cell(self.directory, "next")
        await self.next.start()

    @in_asyncio
    async def tearDown(self) -> None:  # type: ignore[override]
        await super().tearDown().asFuture(asyncio.get_running_loop())
        await self.next.stop()
        assert self.next.upstream.in_flight == 0

    async def never(self, wire: Wire) -> None:
        """
        Read all, say nothing.
        """
        while True:
            await wire.request()

    async def end(self, verdict: Verdict, *, asked: int = 1) -> None:
        """
        The cell dies once it has got so many requests, and the supervisor says why.
        """
        await until(lambda: self.cell.asked >= asked)
        await self.cell.stop()
        # Requests wait for the verdict, which takes its time.
        await asyncio.sleep(0.05)
        self.cells.ready = self.next.upstream
        self.cell.upstream.retire()
        self.cell.upstream.ended(verdict)


class ToldTests(EndingCase):
    """
    What clients are told.
    """

    @in_asyncio
    async def test_why(self) -> None:
        """
        A request that cannot be repeated is a 503 that says why, and its connection goes on.
        """
        for termination, method in (
            (Termination.CPU, GET),
            (Termination.MEMORY, GET),
            (Termination.CRASH, POST),
            (Termination.TIMEOUT, GET),
        ):
            self.cell.upstream.retired = False
            self.cell.upstream.verdict = None
            self.cells.ready = self.cell.upstream
            if self.cell._server is None:
                self.cell.wires.clear()
                await self.cell.start()
            wire = await self.connect()
            await wire.send(method)
            await self.end(Verdict(termination=termination, again=method is POST))
            response = await wire.response()
            assert (response.status, response.code) == (503, 10505)
            assert response.fields[TERMINATION] == termination.value.encode()
            assert response.fields[b"retry-after"] == b"1"
            assert response.json["errors"][0]["termination"] == termination.value
            await wire.send(GET)
            assert (await wire.response()).status == 200

    @in_asyncio
    async def test_ended_by_the_platform(self) -> None:
        """
        A process that was stopped is no fault of the function's: 503 without a termination.
        """
        wire = await self.connect()
        await wire.send(GET)
        await self.end(Verdict(termination=None, again=False))
        response = await wire.response()
        assert (response.status, response.code) == (503, 10503)
        assert TERMINATION not in response.fields

    @in_asyncio
    async def test_known_already(self) -> None:
        """
        A verdict that came before the connection's end is not waited for.
        """
        wire = await self.connect()
        await wire.send(GET)
        await until(lambda: self.cell.asked)
        self.cell.upstream.retire()
        self.cell.upstream.ended(Verdict(termination=Termination.CPU, again=False))
        await self.cell.stop()
        assert (await wire.response()).fields[TERMINATION] == b"cpu"

    @in_asyncio
    async def test_not_for_an_answer_that_has_begun(self) -> None:
        """
        Half an answer is a broken connection, whatever the verdict.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(ok(b"x" * 100)[:-50])
            await wire.request()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        await wire.head()
        await self.end(CRASHED)
        assert await wire.ended()
        assert self.next.asked == 0


class AgainTests(EndingCase):
    """
    Who is asked once more.
    """

    @in_asyncio
    async def test_once(self) -> None:
        """
        What can be repeated goes to the next process, body and all.
        """
        wire = await self.connect()
        await wire.send(PUT)
        await self.end(CRASHED)
        assert (await wire.response()).body == b"PUT / HTTP/1.1"
        assert (self.cell.asked, self.next.asked) == (1, 1)

    @in_asyncio
    async def test_not_twice(self) -> None:
        """
        What ends the next process too is not given to a third one.
        """
        self.next.script = self.never
        wire = await self.connect()
        await wire.send(GET)
        await self.end(CRASHED)
        await until(lambda: self.next.asked == 1)
        self.cells.ready = self.api.upstream
        await self.next.stop()
        self.next.upstream.retire()
        self.next.upstream.ended(CRASHED)
        response = await wire.response()
        assert (response.status, response.fields[TERMINATION]) == (503, b"crash")
        assert self.api.asked == 0

    @in_asyncio
    async def test_on_a_kept_connection(self) -> None:
        """
        The same holds for a request on a connection that was used before.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(ok(b"first"))
            await wire.request()
            await wire.request()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).body == b"first"
        await wire.send(GET)
        await self.end(CRASHED, asked=2)
        assert (await wire.response()).body == b"GET / HTTP/1.1"

    @in_asyncio
    async def test_not_a_body_that_is_gone(self) -> None:
        """
        A body that was passed on in pieces is not held, so the request is not repeated.
        """
        wire = await self.connect()
        await wire.send(PUT[:-5])
        await until(lambda: self.cell.asked)
        await wire.send(b"hello")
        await self.end(CRASHED)
        assert (await wire.response()).status == 503
        assert self.next.asked == 0

    @in_asyncio
    async def test_not_after_a_byte(self) -> None:
        """
        A request of whose answer something came is not repeated.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await wire.request()

        self.script(script)
        wire = await self.connect()
        await wire.send(GET)
        await self.end(CRASHED)
        assert (await wire.response()).status == 503
        assert self.next.asked == 0

    @in_asyncio
    async def test_a_client_that_left(self) -> None:
        """
        A request whose client has gone is not repeated, and its function stays a suspect.
        """
        wire = await self.connect()
        await wire.send(GET)
        await until(lambda: self.cell.asked)
        wire.reset()
        await until(lambda: self.cell.upstream.in_flight == 0)
        assert self.cell.upstream.running() == {"hello"}
        await self.end(CRASHED)
        assert self.next.asked == 0


class OursTests(RelayCase):
    """
    Fields and answers that are ours.
    """

    @in_asyncio
    async def test_functions_cannot_claim_it(self) -> None:
        """
        No function can say in its own answer that its process has ended.
        """

        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                await wire.send(
                    ok(b"x", b"X-Workerd-Faas-Termination: crash\r\nX-WORKERD-FAAS-More: 1\r\n")
                )

        self.script(script)
        response = await self.ask(GET)
        assert response.status == 200
        assert b"workerd-faas" not in response.head.lower()

    @in_asyncio
    async def test_quarantined(self) -> None:
        """
        A quarantined function answers with its own code, the reason and the time to come back.
        """
        self.cells.ready = None
        self.cells.at_once = Problem(
            kind=Kind.QUARANTINED,
            message="This function is quarantined.",
            retry_after=7,
            termination=Termination.MEMORY,
        )
        response = await self.ask(GET)
        assert (response.status, response.code) == (503, 10506)
        assert response.fields[TERMINATION] == b"memory"
        assert response.fields[b"retry-after"] == b"7"

    @in_asyncio
    async def test_a_head_that_is_too_large(self) -> None:
        """
        A function whose answer's head is too large is told what the bound is.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(ok(b"", b"A: " + b"x" * 70_000 + b"\r\n"))
            await wire.ended()

        self.script(script)
        response = await self.ask(GET)
        assert (response.status, response.code) == (502, 10502)
        assert "larger than 65536 bytes" in response.json["errors"][0]["message"]


class AdmissionTests(RelayCase):
    """
    As many requests as allowed.
    """

    options: ClassVar[dict[str, Any]] = {
        "admission": Admission(TrafficLimits(function_at_once=2, account_at_once=3))
    }

    async def silent(self, wire: Wire) -> None:
        """
        Read one request, answer when told.
        """
        await wire.request()
        await self.go_on.wait()
        await wire.send(ok(b"done"))

    @in_asyncio
    async def test_at_once(self) -> None:
        """
        One request more than a function, or its account, may have is a 429 that says when to come;
        when others have ended there is room again.
        """
        self.go_on = asyncio.Event()
        self.script(self.silent)
        wires = [await self.connect() for _ in range(4)]
        for wire in wires[:2]:
            await wire.send(GET)
        await until(lambda: self.cell.asked == 2)
        response = await self.ask(GET)
        assert (response.status, response.code) == (429, 10429)
        assert response.fields[b"retry-after"] == b"1"
        other = GET.replace(b"hello.", b"split.")
        await wires[2].send(other)
        await until(lambda: self.cell.asked == 3)
        await wires[3].send(other)
        assert (await wires[3].response()).status == 429
        self.go_on.set()
        for wire in wires[:3]:
            assert (await wire.response()).status == 200
        assert (await self.ask(GET)).status == 200

    @in_asyncio
    async def test_sockets_count(self) -> None:
        """
        A WebSocket is a request until it ends, however it ends.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n"
            )
            await wire.rest()

        self.script(script)
        upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        wires = []
        for _ in range(2):
            wires.append(await self.connect())
            await wires[-1].send(upgrade)
            assert (await wires[-1].response()).status == 101
        assert (await self.ask(GET)).status == 429
        wires[0].reset()
        await until(lambda: self.ingress.stats().tunnels == 1)
        self.cell.script = self.silent
        self.go_on = asyncio.Event()
        self.go_on.set()
        assert (await self.ask(GET)).status == 200
        wires[1].close()
        await until(lambda: self.ingress.stats().tunnels == 0)

    @in_asyncio
    async def test_nothing_is_counted_twice(self) -> None:
        """
        Requests that end in any way leave room for as many again.
        """

        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"nonsense\r\n\r\n")

        self.script(script)
        for _ in range(10):
            assert (await self.ask(GET)).status == 502
        self.cells.ready, self.cells.at_once = None, Problem(kind=Kind.UNAVAILABLE, message="no")
        for _ in range(10):
            assert (await self.ask(GET)).status == 503


class RateTests(RelayCase):
    """
    As fast as allowed.
    """

    options: ClassVar[dict[str, Any]] = {
        "admission": Admission(TrafficLimits(function_rate=0.01, account_rate=1000))
    }

    @in_asyncio
    async def test_rate(self) -> None:
        """
        Requests beyond the rate are 429 with the seconds to wait, on the same connection too, and
        cost other functions nothing.
        """
        wire = await self.connect()
        await wire.send(GET)
        assert (await wire.response()).status == 200
        for _ in range(3):
            await wire.send(GET)
            response = await wire.response()
            assert response.status == 429
            assert 90 <= int(response.fields[b"retry-after"]) <= 100
        assert (await self.ask(GET.replace(b"hello.", b"split."))).status == 200
