"""
A program for `test_listening`: a relay with few descriptors, and a crowd.

Prints the status that the last of the crowd gets, the processor time of a second with the crowd
there, and the status of a request after it has gone.
"""

import asyncio
import resource
import time

from workerd_faas import reactor as reactors

reactor = reactors.install()  # Before the harness imports it.

from twisted.python.failure import Failure  # noqa: E402

from tests.ingress.harness import FakeCells, in_asyncio, routing_table, twisted  # noqa: E402
from workerd_faas.domain.upstream import Upstream  # noqa: E402
from workerd_faas.ingress.limits import RelayLimits  # noqa: E402
from workerd_faas.ingress.service import Ingress  # noqa: E402

REQUEST = b"GET / HTTP/1.1\r\nHost: nope.example.com\r\n\r\n"


async def status(port: int, crowd: list[asyncio.StreamWriter]) -> str:
    """
    Ask on a new connection, which stays open.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    crowd.append(writer)
    writer.write(REQUEST)
    return (await reader.readuntil(b"\r\n")).split()[1].decode()


async def scene() -> None:
    """
    The whole of it.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (170, 170))
    ingress = Ingress(
        reactor=reactor,
        listen=["tcp:0:interface=127.0.0.1"],
        base_domain="example.com",
        routes=routing_table(),
        cells=FakeCells(),
        api=Upstream("/nonexistent", "api"),
        limits=RelayLimits(tick_seconds=0.02, linger_seconds=0.1),
    )
    await twisted(ingress.start())
    port = ingress.addresses[0].port
    crowd: list[asyncio.StreamWriter] = []
    answers = [await status(port, crowd) for _ in range(40)]
    assert answers[0] == "404", answers
    used = time.process_time()
    await asyncio.sleep(1)
    print(answers[-1], time.process_time() - used)
    for writer in crowd:
        writer.close()
    while ingress.stats().connections:
        await asyncio.sleep(0.01)
    print(await status(port, crowd))
    crowd[-1].close()
    await twisted(ingress.stop())


def begin() -> None:
    """
    Run it and stop.
    """

    def end(result: object) -> None:
        if isinstance(result, Failure):
            result.printTraceback()
        reactor.stop()

    @in_asyncio
    async def run(_: object) -> None:
        await scene()

    run(None).addBoth(end)


if __name__ == "__main__":
    reactor.callWhenRunning(begin)
    reactor.run()
