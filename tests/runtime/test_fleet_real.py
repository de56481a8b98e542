"""The fleet with real workerd processes."""

from tests.runtime.support import RealCase, code

HELLO = "export default { fetch() { return new Response('hello') } }"


class FleetTests(RealCase):
    """
    Starting, sharing, stopping.
    """

    async def test_first_request_starts_a_cell(self) -> None:
        """
        A function answers in a cell that its first request started.
        """
        self.loader.versions["v"] = code(HELLO)
        fleet = await self.fleet()
        upstream = await self.ready(fleet)
        reply = await self.client.get(upstream, "v")
        self.assertEqual((reply.status, reply.text), (200, "hello"))
