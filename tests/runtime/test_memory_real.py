"""Loading and evicting for a long time leaves a cell's memory where it was."""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from tests.runtime.support import ACCOUNT, RealCase, code
from workerd_faas.domain.routing import Route
from workerd_faas.domain.upstream import Upstream
from workerd_faas.runtime.status import data_bytes, resident_bytes

_FILLER = "/* " + "x" * 20_000 + " */"


class _Hammer(Protocol):
    """
    One kept connection with one request after the other.
    """

    def __init__(self, version: str, times: int) -> None:
        self._left = times
        self._request = (
            "GET / HTTP/1.1\r\nHost: fn.example.test\r\nCF-Ray: 0123456789abcdef\r\n"
            f'wfaas-cf: {{"version":"{version}"}}\r\n\r\n'
        ).encode()
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """
        See `Protocol`.
        """
        self._send()

    def dataReceived(self, data: bytes) -> None:
        """
        See `Protocol`.
        """
        if data.startswith(b"HTTP/1.1 200"):
            self._left -= 1
            self._send()
        else:
            self.done.errback(AssertionError(data))

    def _send(self) -> None:
        assert self.transport is not None
        if self._left:
            self.transport.write(self._request)
        else:
            self.transport.loseConnection()
            self.done.callback(None)


class MemoryTests(RealCase):
    """
    Many versions through one cell.
    """

    timeout = 300

    async def test_eviction_gives_memory_back(self) -> None:
        """
        Rounds of 300 loads each leave a cell that keeps 20 versions at most a tenth larger than it
        was in the first three rounds, in which it reaches the size that its collections allow.
        """
        fleet = await self.fleet(loaded_versions=20)
        upstream = await self.ready(fleet)
        [cell] = fleet.status().cells
        sizes = []
        for turn in range(6):
            await self.one_round(upstream, turn)
            sizes.append(resident_bytes(cell.pid))
        self.assertLess(max(sizes[3:]), max(sizes[:3]) * 1.1, sizes)
        self.assertIs(fleet.upstream(Route(ACCOUNT, "fn", "v")), upstream, "the same process")

    async def test_more_versions_than_there_is_room_for(self) -> None:
        """
        With the limits that a cell has by default, 150 small versions are run by one process, which
        has less data at its end than would get it replaced.
        """
        fleet = await self.fleet()
        upstream = await self.ready(fleet)
        [cell] = fleet.status().cells
        for n in range(150):
            version = f"v{n}"
            self.loader.versions = {
                version: code("export default { fetch: () => Response.json(1) }")
            }
            reply = await self.client.get(upstream, version)
            self.assertEqual(reply.status, 200, (n, reply.text))
        self.assertEqual(fleet.status().crashed, 0)
        self.assertLess(data_bytes(cell.pid), fleet.options.recycle)

    async def one_round(self, upstream: Upstream, turn: int) -> None:
        """
        300 versions, each called once.
        """
        for n in range(300):
            version = f"v{turn}-{n}"
            self.loader.versions = {
                version: code(
                    f"{_FILLER} const table = Array.from({{ length: 20000 }}, (_, i) => i + {n});"
                    f"export default {{ fetch: () => new Response(String(table[1])) }}"
                )
            }
            reply = await self.client.get(upstream, version)
            self.assertEqual(reply.text, str(n + 1))

    async def test_requests_leave_nothing(self) -> None:
        """
        A cell is at most half larger after three times as many requests; it would have doubled.
        """
        self.loader.versions["v"] = code("export default { fetch: () => new Response('ok') }")
        fleet = await self.fleet()
        upstream = await self.ready(fleet)
        [cell] = fleet.status().cells
        sizes = []
        for _ in range(3):
            await self.hammer(upstream, 4000)
            sizes.append(resident_bytes(cell.pid))
        self.assertLess(max(sizes[1:]), sizes[0] * 1.5, sizes)

    async def hammer(self, upstream: Upstream, times: int) -> None:
        """
        So many requests over eight connections.
        """
        reactor: Any = self.reactor
        hammers = [_Hammer("v", times // 8) for _ in range(8)]
        for hammer in hammers:
            await connectProtocol(UNIXClientEndpoint(reactor, upstream.address), hammer)
        await gatherResults([hammer.done for hammer in hammers])
