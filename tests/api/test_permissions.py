"""API tokens that may not do everything, at every route there is."""

import attrs
import pytest
from twisted.web.test.requesthelper import DummyRequest
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Rule

from tests.api.platform import SCRIPTS, PlatformTestCase
from workerd_faas.api.access import needing
from workerd_faas.domain.permissions import Permissions, needed, read_permissions
from workerd_faas.testing.fakes import ALICE


class PermissionTests(PlatformTestCase):
    """
    The bearer `alice` has the permissions that a test gives it.
    """

    def restrict(self, permissions: Permissions) -> None:
        """
        From now on.
        """
        self.bearers["alice"] = attrs.evolve(ALICE, permissions=permissions)

    async def test_no_route_is_open_to_a_token_without_its_scope(self) -> None:
        """
        With a token that may do nothing every route that needs a scope is a 403 that names it.
        """
        self.restrict(Permissions(frozenset()))
        rules: list[Rule] = list(self.api.rules())
        asked = 0
        for rule in rules:
            path = rule.rule.replace("<account>", "a" * 32)
            for argument in rule.arguments:
                path = path.replace(f"<{argument}>", "x").replace(f"<path:{argument}>", "x")
            for method in sorted((rule.methods or set()) - {"HEAD"}):
                scope = needed(method, rule.rule)
                if not scope or "/workers/assets/upload" in path:
                    continue
                answer = await self.ask(method, path)
                self.assertEqual(answer.status, 403, (method, path))
                self.assertIn(scope, answer.error[2])
                asked += 1
        self.assertGreater(asked, 20)

    async def test_a_token_for_one_function(self) -> None:
        """
        It deploys its function, and sees and changes no other, however the path is written.
        """
        self.restrict(read_permissions(None, ["shop"]))
        self.assertEqual((await self.upload("/shop")).status, 200)
        self.assertEqual((await self.upload("/other")).status, 403)
        for path in ("", "/other", "/sho%70x", "/shop%2F..%2Fother", "/other/versions"):
            self.assertIn((await self.ask("GET", SCRIPTS + path)).status, (403, 404), path)
        self.assertEqual((await self.ask("GET", SCRIPTS + "/sho%70")).status, 200)
        refused = await self.ask("DELETE", SCRIPTS + "/other")
        self.assertEqual(refused.error[0], 403)
        self.assertIn("shop", refused.error[2])

    async def test_a_reading_token_changes_nothing(self) -> None:
        """
        It lists what there is and is told which scope an upload takes.
        """
        await self.upload("/shop")
        self.restrict(read_permissions(["workers:read"], None))
        self.assertEqual(len((await self.ask("GET", SCRIPTS)).result), 1)
        self.assertIn("workers:write", (await self.upload("/shop")).error[2])


@pytest.mark.parametrize(
    ("method", "taken"),
    [(b"GET", True), (b"HEAD", True), (b"PUT", True), (b"get", False), (b"POST", False)],
)
def test_methods_are_told_apart_by_their_case(method: bytes, taken: bool) -> None:
    """
    A method that a route does not take in these letters is a 405, though the router takes `get`.
    """
    handle = needing("/user", lambda request: "handled", ("GET", "PUT"))
    request = DummyRequest([b""])
    request.method = method
    if taken:
        assert handle(request) == "handled"
        return
    with pytest.raises(MethodNotAllowed) as refused:
        handle(request)
    assert set(refused.value.valid_methods or ()) == {"GET", "HEAD", "PUT"}
