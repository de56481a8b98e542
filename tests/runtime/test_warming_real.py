"""What is deployed is loaded before anybody asks for it."""

from tests.runtime.support import ACCOUNT, RealCase, code
from workerd_faas.domain.model import Split
from workerd_faas.domain.routing import Route, RoutingTable
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.warming import Warming


def text(answer: str) -> str:
    """
    A function that says always the same.
    """
    return f"export default {{ fetch() {{ return new Response('{answer}'); }} }}"


class WarmingTests(RealCase):
    """
    Deployments of the function "fn-v1", as its load documents call it.
    """

    async def world(self) -> tuple[Fleet, RoutingTable]:
        """
        A cell in which version "v1" has been asked for.
        """
        for version in ("v1", "v2"):
            self.loader.versions[version] = code(text(version))
        fleet, routes = await self.fleet(), RoutingTable()
        routes.follow(Warming(fleet, routes).deployed)
        upstream = await self.ready(fleet, Route(ACCOUNT, "fn-v1", "v1"))
        self.assertEqual((await self.client.get(upstream, "v1")).text, "v1")
        return fleet, routes

    def deploy(self, routes: RoutingTable, function: str, *versions: str) -> None:
        """
        These serve the function from now on, with equal shares.
        """
        for version in versions:
            routes.version_added(ACCOUNT, function, version)
        share = 100 / len(versions)
        routes.deployed(function, tuple(Split(version_id=v, percentage=share) for v in versions))

    async def test_a_deployed_version_is_loaded(self) -> None:
        """
        A deployment of a function that is in use has the version loaded, once.
        """
        fleet, routes = await self.world()
        self.deploy(routes, "fn-v1", "v2")
        await self.until(lambda: len(self.loader.asked) == 2)
        upstream = await self.ready(fleet, Route(ACCOUNT, "fn-v1", "v2"))
        self.assertEqual((await self.client.get(upstream, "v2")).text, "v2")
        self.assertEqual([version for _, version in self.loader.asked], ["v1", "v2"])

    async def test_what_nobody_uses_is_not_loaded(self) -> None:
        """
        A deployment of a function that was not asked for, or that has shares, loads nothing, and
        neither does the end of a function.
        """
        fleet, routes = await self.world()
        self.deploy(routes, "other", "v2")
        self.deploy(routes, "fn-v1", "v1", "v2")
        routes.removed("fn-v1")
        await fleet.stop()
        self.assertEqual(len(self.loader.asked), 1)

    async def test_a_version_that_cannot_be_loaded(self) -> None:
        """
        A deployed version that does not start is no trouble before it is asked for.
        """
        fleet, routes = await self.world()
        self.loader.versions["v2"] = code("throw new Error('no')")
        self.deploy(routes, "fn-v1", "v2")
        await self.until(lambda: len(self.loader.asked) == 2)
        upstream = await self.ready(fleet, Route(ACCOUNT, "fn-v1", "v2"))
        self.assertEqual((await self.client.get(upstream, "v1")).text, "v1")
        self.assertEqual((await self.client.get(upstream, "v2")).status, 500)
