"""A login from the CLI's request to a token, and what must not work on the way."""

from urllib.parse import parse_qsl, urlsplit

from tests.identity.world import REDIRECT, VERIFIER, WorldCase, random_state
from workerd_faas.domain.oauth import SCOPES, WRANGLER


class LoginTests(WorldCase):
    """
    The good way.
    """

    async def test_a_login_ends_with_a_token_that_the_api_takes(self) -> None:
        """
        Redirects alone lead from the CLI's request to a code, and the code gives tokens.
        """
        world = await self.world()
        answer = await world.browser().follow(world.authorize_url())
        self.assertEqual(
            {**answer.query, "code": "?"}, {"code": "?", "state": "cli-state", "iss": world.url}
        )
        self.assertTrue(answer.location.startswith(REDIRECT + "?"))
        tokens = await world.redeem(answer.query["code"])
        self.assertEqual(tokens.status, 200)
        self.assertEqual(tokens.header("cache-control"), "no-store")
        self.assertEqual(tokens.document["token_type"], "Bearer")
        self.assertEqual(tokens.document["expires_in"], 3600)
        self.assertEqual(tokens.header("pragma"), "no-cache")
        self.assertEqual(tokens.document["scope"], " ".join(SCOPES))
        user = await world.api("GET", "/user", tokens.document["access_token"])
        self.assertEqual(user.result["email"], "alice@example.com")

    async def test_wrangler_logs_in_with_its_own_client(self) -> None:
        """
        Wrangler's client id, redirect URI and scopes are accepted, and only known scopes granted.
        """
        world = await self.world()
        redirect = "http://localhost:8976/oauth/callback"
        state = random_state()
        browser = world.browser()
        answer = await browser.follow(
            world.authorize_url(
                client_id=WRANGLER.id,
                redirect_uri=redirect,
                state=state,
                scope="account:read workers:write browser:write tea:write offline_access",
            )
        )
        self.assertTrue(answer.location.startswith(redirect + "?"))
        self.assertEqual(answer.query["state"], state)
        tokens = await world.redeem(
            answer.query["code"], client_id=WRANGLER.id, redirect_uri=redirect
        )
        self.assertEqual(
            tokens.document["scope"], "account:read workers:write browser:write offline_access"
        )
        self.assertEqual(await world.status(tokens.document["access_token"]), 200)

    async def test_the_provider_is_asked_with_nonce_and_pkce_of_our_own(self) -> None:
        """
        Every login has its own state, nonce and S256 challenge, none of them the CLI's.
        """
        world = await self.world()
        await world.login()
        await world.login()
        first, second = world.provider.seen
        for asked in (first, second):
            self.assertEqual(asked["response_type"], "code")
            self.assertEqual(asked["redirect_uri"], f"{world.url}/auth/callback")
            self.assertEqual(asked["scope"], "openid email profile")
            self.assertEqual(asked["code_challenge_method"], "S256")
            self.assertEqual(asked["fixed"], "1")
        for name in ("state", "nonce", "code_challenge"):
            self.assertNotEqual(first[name], second[name])
            self.assertGreaterEqual(len(first[name]), 43)
            self.assertNotIn(first[name], (VERIFIER, "cli-state"))

    async def test_state_comes_back_byte_for_byte(self) -> None:
        """
        Whatever bytes the CLI sends as state, the same ones are in the redirect.
        """
        world = await self.world()
        for octets in (
            b"a b+c&d=e/?#",
            "žluťoučký 🦔".encode(),
            b"\xff\xfe\x00",
            b"%41",
            b"x" * 2000,
        ):
            quoted = "".join(f"%{byte:02X}" for byte in octets)
            url = world.authorize_url(state=None) + f"&state={quoted}"
            answer = await world.browser().follow(url)
            query = urlsplit(answer.location).query
            found = dict(parse_qsl(query, encoding="latin-1"))
            self.assertEqual(found["state"].encode("latin-1"), octets)

    async def test_the_same_person_gets_the_same_account_whatever_the_email(self) -> None:
        """
        (issuer, subject) is the identity: a new e-mail address changes nothing but the display.
        """
        world = await self.world()
        first = await world.login()
        world.provider.person["email"] = "new@example.com"
        second = await world.login()
        accounts = [
            (await world.api("GET", "/accounts", tokens["access_token"])).result[0]
            for tokens in (first, second)
        ]
        self.assertEqual(accounts[0]["id"], accounts[1]["id"])
        self.assertRegex(accounts[0]["id"], r"\A[0-9a-f]{32}\Z")
        self.assertEqual(accounts[1]["name"], "new@example.com")

    async def test_another_subject_with_the_same_email_gets_another_account(self) -> None:
        """
        An e-mail address, verified or not, never leads into somebody else's account.
        """
        world = await self.world()
        found = set()
        for subject, verified in (("alice", True), ("mallory", False), ("eve", True)):
            world.provider.person |= {"sub": subject, "email_verified": verified}
            tokens = await world.login()
            answer = await world.api("GET", "/accounts", tokens["access_token"])
            found.add(answer.result[0]["id"])
        self.assertEqual(len(found), 3)

    async def test_people_without_an_email_have_accounts_of_their_own(self) -> None:
        """
        A missing or empty e-mail address is no error and no shared account.
        """
        world = await self.world()
        found = set()
        for person in ({"sub": "a"}, {"sub": "b", "email": "", "email_verified": True}):
            world.provider.person = dict(person)
            tokens = await world.login()
            answer = await world.api("GET", "/accounts", tokens["access_token"])
            found.add(answer.result[0]["id"])
        self.assertEqual(len(found), 2)

    async def test_an_unverified_email_is_not_shown(self) -> None:
        """
        `GET /user` and the account's name do not repeat an address that nobody verified.
        """
        world = await self.world()
        for verified in (False, None, "true", 1):
            world.provider.person = {
                "sub": "m",
                "email": "boss@example.com",
                "email_verified": verified,
                "preferred_username": "mallory",
            }
            tokens = await world.login()
            user = await world.api("GET", "/user", tokens["access_token"])
            self.assertEqual(user.result["email"], "mallory")

    async def test_the_operators_account_cannot_be_taken_by_its_name(self) -> None:
        """
        Somebody whose display name is that of an operator's account gets another account, and the
        operator's command never finds a login's account by its name.
        """
        world = await self.world()
        _, operators = await self.operator_token(world, "acme")
        world.provider.person = {"sub": "x", "preferred_username": "acme"}
        tokens = await world.login()
        mine = (await world.api("GET", "/accounts", tokens["access_token"])).result[0]
        self.assertEqual(mine["name"], "acme")
        self.assertNotEqual(mine["id"], operators)
        _, again = await self.operator_token(world, "acme")
        self.assertEqual(again, operators)
        _, by_id = await self.operator_token(world, mine["id"])
        self.assertEqual(by_id, mine["id"])

    async def test_endpoints_can_be_overridden_one_by_one(self) -> None:
        """
        Endpoints that the operator sets are used in place of those of the discovery document.
        """
        world = await self.world(override_endpoints=True)
        dead = f"{world.provider.issuer}/moved"
        world.provider.discovery = {
            "authorization_endpoint": dead,
            "token_endpoint": dead,
            "userinfo_endpoint": dead,
        }
        await world.login()
        self.assertEqual(world.provider.asked["/moved"], 0)
        self.assertEqual(world.provider.asked["/userinfo"], 1)


class LoginRefusedTests(WorldCase):
    """
    Answers that belong to no login of this browser, and provider's refusals.
    """

    async def test_a_stolen_callback_fails_in_another_browser(self) -> None:
        """
        The provider's answer is taken only from the browser that began the login.
        """
        world = await self.world()
        mine, stranger = world.browser(), world.browser()
        begun = await mine.request("GET", world.authorize_url())
        approved = await mine.request("GET", begun.location)
        # The stranger has begun a login of its own, so it has a cookie, but not this one.
        await stranger.request("GET", world.authorize_url())
        stolen = await stranger.request("GET", approved.location)
        self.assertEqual(stolen.status, 400)
        self.assertIsNone(stolen.header("location"))
        self.assertEqual(world.provider.asked["/token"], 0)

    async def test_a_callback_works_once(self) -> None:
        """
        The same answer a second time, in the same browser, is refused.
        """
        world = await self.world()
        browser = world.browser()
        begun = await browser.request("GET", world.authorize_url())
        cookies = dict(browser.cookies)
        approved = await browser.request("GET", begun.location)
        first = await browser.request("GET", approved.location)
        self.assertIn("code", first.query)
        self.assertEqual(browser.cookies, {})
        browser.cookies = cookies
        second = await browser.request("GET", approved.location)
        self.assertEqual(second.status, 400)

    async def test_looking_at_a_callback_uses_nothing_up(self) -> None:
        """
        HEAD, as previews and scanners of links send it, is refused and leaves the login as it was.
        """
        world = await self.world()
        browser = world.browser()
        begun = await browser.request("GET", world.authorize_url())
        approved = await browser.request("GET", begun.location)
        looked = await browser.request("HEAD", approved.location)
        self.assertEqual((looked.status, looked.header("allow")), (405, "GET"))
        self.assertIn("code", (await browser.request("GET", approved.location)).query)

    async def test_a_login_expires_within_minutes(self) -> None:
        """
        An answer that comes after ten minutes is refused.
        """
        world = await self.world()
        browser = world.browser()
        begun = await browser.request("GET", world.authorize_url())
        approved = await browser.request("GET", begun.location)
        world.clock.advance(minutes=10)
        late = await browser.request("GET", approved.location)
        self.assertEqual(late.status, 400)

    async def test_a_state_that_was_never_issued_is_refused(self) -> None:
        """
        Made up, changed and missing states are a page with status 400, never a redirect.
        """
        world = await self.world()
        browser = world.browser()
        begun = await browser.request("GET", world.authorize_url())
        state = begun.query["state"]
        changed = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
        for query in (
            "",
            "code=x",
            "code=x&state=",
            "code=x&state=eyJyZWRpcmVjdF91cmkiOiJodHRwOi8vZXZpbC5leGFtcGxlIn0",
            f"code=x&state={changed}",
            f"code=x&state={state}&state={state}",
            "code=x&state=%FF%FE",
            "code=x&state=" + "A" * 5000,
        ):
            answer = await browser.request("GET", f"{world.url}/auth/callback?{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertEqual(answer.header("content-type"), "text/html; charset=utf-8")

    async def test_the_providers_refusal_reaches_the_cli(self) -> None:
        """
        `error` becomes `access_denied` with state and iss, and nothing of it can break out.
        """
        world = await self.world()
        world.provider.refusal = {
            "error": "login_required",
            "error_description": 'no "way" <script>\r\nSet-Cookie: a=b',
        }
        answer = await world.browser().follow(world.authorize_url())
        self.assertEqual(answer.query["error"], "access_denied")
        self.assertEqual(answer.query["state"], "cli-state")
        self.assertEqual(answer.query["iss"], world.url)
        self.assertNotIn("code", answer.query)
        self.assertNotIn('"', answer.query["error_description"])
        self.assertNotIn("\n", answer.query["error_description"])
        self.assertNotIn("a=b", answer.header("set-cookie") or "")

    async def test_who_is_not_on_the_list_is_denied(self) -> None:
        """
        LOGIN_ALLOW admits verified addresses, domains and subjects, and nobody else.
        """
        world = await self.world(
            rules=frozenset({"alice@example.com", "@friends.example", "sub:bot"})
        )
        for person, admitted in (
            ({"sub": "1", "email": "alice@example.com", "email_verified": True}, True),
            ({"sub": "2", "email": "ALICE@Example.com", "email_verified": True}, True),
            ({"sub": "3", "email": "alice@example.com", "email_verified": False}, False),
            ({"sub": "4", "email": "bob@example.com", "email_verified": True}, False),
            ({"sub": "5", "email": "bob@friends.example", "email_verified": True}, True),
            ({"sub": "6", "email": "bob@evilfriends.example", "email_verified": True}, False),
            ({"sub": "7", "email": "b@sub.friends.example", "email_verified": True}, False),
            ({"sub": "bot"}, True),
            ({"sub": "sub:bot"}, False),
            ({"sub": "alice@example.com"}, False),
        ):
            world.provider.person = dict(person)
            answer = await world.browser().follow(world.authorize_url())
            if admitted:
                self.assertIn("code", answer.query, person)
            else:
                self.assertEqual(answer.query.get("error"), "access_denied", person)

    async def test_the_cookie_is_fit_for_its_purpose(self) -> None:
        """
        On https the cookie has the `__Host-` prefix and Secure; HttpOnly and SameSite=Lax always.
        """
        for issuer, name, secure in (
            (None, "wfaas-login-", False),
            ("https://faas.example.com", "__Host-wfaas-login-", True),
        ):
            world = await self.world(issuer=issuer)
            answer = await world.browser().request("GET", world.authorize_url())
            cookie = answer.header("set-cookie") or ""
            attributes = cookie.split("; ")
            self.assertTrue(attributes[0].startswith(name))
            self.assertGreaterEqual(len(attributes[0].partition("=")[2]), 43)
            self.assertLessEqual(
                {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"}, set(attributes)
            )
            self.assertEqual("Secure" in attributes, secure)
            self.assertNotIn("Domain", cookie)

    async def test_pages_and_redirects_leak_nothing(self) -> None:
        """
        Pages cannot be framed, cached or run scripts; neither they nor redirects send a referrer.
        """
        world = await self.world()
        page = await world.browser().request("GET", f"{world.url}/oauth2/auth?client_id=<b>")
        self.assertEqual(page.status, 400)
        policy = page.header("content-security-policy") or ""
        self.assertIn("default-src 'none'", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertNotIn(b"<b>", page.body)
        self.assertNotIn(b"<script", page.body)
        redirect = await world.browser().request("GET", world.authorize_url())
        for answer in (page, redirect):
            self.assertEqual(answer.header("cache-control"), "no-store")
            self.assertEqual(answer.header("referrer-policy"), "no-referrer")
