"""Logins of programs without a browser (RFC 8628), and what must not let one in."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.world import Answer, Browser, World, WorldCase
from workerd_faas.domain.device import (
    ALPHABET,
    ENTROPY_BYTES,
    read_user_code,
    shown_user_code,
    write_user_code,
)
from workerd_faas.domain.oauth import DEVICE_GRANT, WRANGLER


@given(st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_a_user_code_is_read_however_it_is_typed(entropy: bytes) -> None:
    """
    Lower case, dashes and spaces make no difference.
    """
    code = write_user_code(entropy)
    assert set(code) <= set(ALPHABET)
    for typed in (code, shown_user_code(code), f" {code.lower()} ", " ".join(code)):
        assert read_user_code(typed) == code


@pytest.mark.parametrize("typed", ["", "BCDF", "BCDFGHJKL", "AEIOUAEI", "B" * 100, "<script>"])
def test_what_cannot_be_a_user_code_is_none(typed: str) -> None:
    """
    Wrong letters and lengths are refused.
    """
    assert read_user_code(typed) is None


class DeviceCase(WorldCase):
    """
    A program and a person.
    """

    async def begun(self, world: World, **form: str | None) -> dict[str, Any]:
        """
        What the program is told.
        """
        answer = await world.post("/oauth2/device/auth", {"client_id": WRANGLER.id, **form})
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.header("cache-control"), "no-store")
        document: dict[str, Any] = answer.document
        return document

    async def poll(self, world: World, begun: dict[str, Any], **form: str | None) -> Answer:
        """
        The program asks whether it is let in.
        """
        sent = {"client_id": WRANGLER.id, "device_code": begun["device_code"], **form}
        return await world.post("/oauth2/token", {"grant_type": DEVICE_GRANT, **sent})

    async def refused(self, world: World, begun: dict[str, Any], **form: str | None) -> str:
        """
        Why the program is not let in.
        """
        answer = await self.poll(world, begun, **form)
        self.assertEqual(answer.status, 400)
        error: str = answer.document["error"]
        return error

    async def sign_in(self, world: World, begun: dict[str, Any], browser: Browser) -> Answer:
        """
        Follow the link and sign in, as far as the question.
        """
        page = await browser.follow(begun["verification_uri_complete"])
        (link,) = re.findall(r'<a href="([^"]+)"', page.body.decode())
        return await browser.follow(unescape(link))

    async def decide(
        self, world: World, question: Answer, browser: Browser, decision: str
    ) -> Answer:
        """
        Press a button.
        """
        fields = dict(re.findall(r'name="(login|sealed)" value="([^"]+)"', question.body.decode()))
        return await browser.request(
            "POST",
            f"{world.url}/device/confirm",
            headers={"content-type": "application/x-www-form-urlencoded"},
            data=urlencode({**fields, "decision": decision}).encode(),
        )


class DeviceTests(DeviceCase):
    """
    The good way.
    """

    async def test_a_program_is_let_in(self) -> None:
        """
        It waits while nobody has decided, and gets a session of its own once the person lets it in.
        """
        world = await self.world()
        begun = await self.begun(world, scope="account:read workers:write offline_access")
        self.assertRegex(begun["user_code"], "^[A-Z]{4}-[A-Z]{4}$")
        self.assertEqual(begun["verification_uri"], f"{world.url}/device")
        self.assertEqual((begun["expires_in"], begun["interval"]), (600, 5))
        self.assertEqual(await self.refused(world, begun), "authorization_pending")
        browser = world.browser()
        question = await self.sign_in(world, begun, browser)
        self.assertIn(b"Wrangler", question.body)
        self.assertIn(b"alice@example.com", question.body)
        self.assertIn(begun["user_code"].encode(), question.body)
        world.clock.advance(seconds=5)
        self.assertEqual(await self.refused(world, begun), "authorization_pending")
        done = await self.decide(world, question, browser, "allow")
        self.assertIn(b"let in", done.body)
        tokens = (await self.poll(world, begun)).document
        self.assertEqual(tokens["scope"], "account:read workers:write offline_access")
        self.assertEqual(await world.status(tokens["access_token"]), 200)
        fresh = await world.refresh(tokens["refresh_token"], client_id=WRANGLER.id)
        self.assertEqual(fresh.status, 200)

    async def test_a_device_code_is_good_once(self) -> None:
        """
        Whoever comes second gets nothing, and the first one's session lives.
        """
        world = await self.world()
        begun, browser = await self.begun(world), world.browser()
        await self.decide(world, await self.sign_in(world, begun, browser), browser, "allow")
        tokens = (await self.poll(world, begun)).document
        self.assertEqual(await self.refused(world, begun), "invalid_grant")
        self.assertEqual(await world.status(tokens["access_token"]), 200)

    async def test_a_person_refuses(self) -> None:
        """
        The program is told so, once.
        """
        world = await self.world()
        begun, browser = await self.begun(world), world.browser()
        question = await self.sign_in(world, begun, browser)
        self.assertIn(b"refused", (await self.decide(world, question, browser, "refuse")).body)
        self.assertEqual(await self.refused(world, begun), "access_denied")
        again = await self.decide(world, question, browser, "allow")
        self.assertEqual(again.status, 400)
        self.assertEqual(await self.refused(world, begun), "invalid_grant")

    async def test_a_program_that_hurries_is_slowed_down(self) -> None:
        """
        Each question too early makes the interval longer by five seconds.
        """
        world = await self.world()
        begun = await self.begun(world)
        self.assertEqual(await self.refused(world, begun), "authorization_pending")
        self.assertEqual(await self.refused(world, begun), "slow_down")
        world.clock.advance(seconds=6)
        self.assertEqual(await self.refused(world, begun), "slow_down")
        world.clock.advance(seconds=16)
        self.assertEqual(await self.refused(world, begun), "authorization_pending")

    async def test_nobody_decides_in_time(self) -> None:
        """
        After ten minutes the code is over, for the program and for the person.
        """
        world = await self.world()
        begun, browser = await self.begun(world), world.browser()
        question = await self.sign_in(world, begun, browser)
        world.clock.advance(minutes=10)
        self.assertEqual((await self.decide(world, question, browser, "allow")).status, 400)
        self.assertEqual(await self.refused(world, begun), "expired_token")
        self.assertEqual((await self.sign_in(world, begun, world.browser())).status, 400)


class AttackTests(DeviceCase):
    """
    What must not let anybody in.
    """

    async def test_a_question_is_answered_by_the_browser_that_signed_in(self) -> None:
        """
        Neither the form nor the page's address is of use in another browser.
        """
        world = await self.world()
        begun, browser = await self.begun(world), world.browser()
        question = await self.sign_in(world, begun, browser)
        stolen = await self.decide(world, question, world.browser(), "allow")
        self.assertEqual(stolen.status, 400)
        self.assertIn(b"another browser", stolen.body)
        self.assertEqual(await self.refused(world, begun), "authorization_pending")

    async def test_looking_decides_nothing(self) -> None:
        """
        GET requests to any of the pages leave the program waiting.
        """
        world = await self.world()
        begun, browser = await self.begun(world), world.browser()
        await self.sign_in(world, begun, browser)
        await browser.request("GET", f"{world.url}/device/confirm?decision=allow")
        self.assertEqual(await self.refused(world, begun), "authorization_pending")

    async def test_a_device_code_is_for_its_client(self) -> None:
        """
        Another client, a made-up code and a code of the code flow are refused.
        """
        world = await self.world()
        begun, browser = await self.begun(world), world.browser()
        await self.decide(world, await self.sign_in(world, begun, browser), browser, "allow")
        self.assertEqual(await self.refused(world, begun, client_id="wrkst"), "invalid_grant")
        code = await world.code()
        for wrong in ("x", code, begun["user_code"]):
            refused = await self.refused(world, begun, device_code=wrong)
            self.assertEqual(refused, "invalid_grant")
        self.assertEqual((await self.poll(world, begun)).status, 200)

    async def test_a_device_code_is_no_authorization_code(self) -> None:
        """
        It cannot be redeemed as one, nor used as a bearer.
        """
        world = await self.world()
        begun = await self.begun(world)
        self.assertEqual((await world.redeem(begun["device_code"])).status, 400)
        self.assertEqual(await world.status(begun["device_code"]), 401)

    async def test_requests_that_are_none_are_refused(self) -> None:
        """
        An unknown client, a query, and a wrong content type.
        """
        world = await self.world()
        path = "/oauth2/device/auth"
        self.assertEqual((await world.post(path, {"client_id": "stranger"})).status, 401)
        self.assertEqual((await world.post(path, {})).status, 400)
        self.assertEqual((await world.post(path + "?a=b", {"client_id": "wrkst"})).status, 400)
        wrong = await world.post(path, {"client_id": "wrkst"}, headers={"content-type": "a/b"})
        self.assertEqual(wrong.status, 400)

    async def test_one_address_cannot_take_all_there_may_be(self) -> None:
        """
        The twenty-first login that waits is refused, and there is room again when they are over.
        """
        world = await self.world()
        for _ in range(20):
            await self.begun(world)
        refused = await world.post("/oauth2/device/auth", {"client_id": "wrkst"})
        self.assertEqual((refused.status, refused.document["error"]), (429, "slow_down"))
        world.clock.advance(minutes=20)
        await self.begun(world)

    async def test_people_behind_one_proxy_have_addresses_of_their_own(self) -> None:
        """
        What counts is the client's address, not that of our proxy; of IPv6 the first half.
        """
        world = await self.world()

        async def begin(address: str) -> int:
            headers = {
                "content-type": "application/x-www-form-urlencoded",
                "x-forwarded-for": f"{address}, 10.0.0.1",
                "cf-connecting-ip": address,
            }
            form: dict[str, str | None] = {"client_id": "wrkst"}
            return (await world.post("/oauth2/device/auth", form, headers=headers)).status

        for number in range(20):
            self.assertEqual(await begin("192.0.2.1"), 200)
            self.assertEqual(await begin(f"2001:db8::{number}"), 200)
        self.assertEqual(await begin("192.0.2.1"), 429)
        self.assertEqual(await begin("2001:db8::ffff"), 429)
        self.assertEqual(await begin("192.0.2.2"), 200)
        self.assertEqual(await begin("2001:db8:0:1::1"), 200)

    async def test_nothing_is_reflected(self) -> None:
        """
        What is typed into the page does not come back in it, and the pages may not be framed.
        """
        world = await self.world()
        query = urlencode({"user_code": "<script>alert(1)</script>"})
        for path in (
            f"/device?{query}",
            f"/device/confirm?{query}",
            "/device?user_code=a&user_code=b",
        ):
            page = await world.browser().request("GET", world.url + path)
            self.assertNotIn(b"<script", page.body)
            self.assertIn("frame-ancestors 'none'", page.header("content-security-policy") or "")
        error = urlencode({"error": "x", "error_description": "<b>"})
        page = await world.browser().request("GET", f"{world.url}/device/confirm?{error}")
        self.assertNotIn(b"<b>", page.body)

    async def test_who_may_not_log_in_lets_nothing_in(self) -> None:
        """
        LOGIN_ALLOW counts here as for every login.
        """
        world = await self.world(rules=frozenset({"bob@example.com"}))
        begun = await self.begun(world)
        refused = await self.sign_in(world, begun, world.browser())
        self.assertEqual(refused.status, 400)
        self.assertIn(b"may not log in", refused.body)
        self.assertEqual(await self.refused(world, begun), "authorization_pending")
