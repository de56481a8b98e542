"""The token and revocation endpoints, over HTTP."""

from twisted.internet.defer import Deferred, gatherResults

from tests.identity.world import REDIRECT, VERIFIER, WorldCase
from workerd_faas.domain.oauth import WRANGLER

WRANGLER_URI = "http://localhost:8976/oauth/callback"


class CodeTests(WorldCase):
    """
    Authorization codes.
    """

    async def test_a_code_is_good_for_one_redemption(self) -> None:
        """
        Of sixteen redemptions at once exactly one gets tokens.
        """
        world = await self.world()
        code = await world.code()
        answers = await gatherResults(
            [Deferred.fromCoroutine(world.redeem(code)) for _ in range(16)]
        )
        self.assertEqual(sorted(a.status for a in answers), [200] + [400] * 15)
        for answer in answers:
            if answer.status == 400:
                self.assertEqual(answer.document["error"], "invalid_grant")

    async def test_a_second_use_revokes_what_the_first_gave(self) -> None:
        """
        After a replay access and refresh token of the first redemption are dead.
        """
        world = await self.world()
        code = await world.code()
        tokens = (await world.redeem(code)).document
        self.assertEqual(await world.status(tokens["access_token"]), 200)
        self.assertEqual((await world.redeem(code)).document["error"], "invalid_grant")
        self.assertEqual(await world.status(tokens["access_token"]), 401)
        self.assertEqual((await world.refresh(tokens["refresh_token"])).status, 400)

    async def test_a_replay_is_noticed_after_the_code_has_expired(self) -> None:
        """
        A code that was used and comes again hours later still ends its session.
        """
        world = await self.world()
        code = await world.code()
        tokens = (await world.redeem(code)).document
        world.clock.advance(minutes=30)
        await world.code()  # which sweeps out what is over
        self.assertEqual((await world.redeem(code)).status, 400)
        self.assertEqual(await world.status(tokens["access_token"]), 401)

    async def test_a_code_is_bound_to_its_request(self) -> None:
        """
        Another client, another redirect URI or another verifier get nothing and burn the code.
        """
        world = await self.world()
        for changes in (
            {"client_id": WRANGLER.id},
            {"client_id": WRANGLER.id, "redirect_uri": WRANGLER_URI},
            {"redirect_uri": "http://127.0.0.1:53683/callback"},
            {"redirect_uri": "http://localhost:53682/callback"},
            {"code_verifier": "w" * 64},
            {"code_verifier": "v" * 63},
            {"code_verifier": "short"},
            {"code_verifier": "é" * 50},
        ):
            code = await world.code()
            answer = await world.redeem(code, **changes)
            self.assertEqual((answer.status, answer.document["error"]), (400, "invalid_grant"))
            self.assertEqual((await world.redeem(code)).status, 400, changes)

    async def test_a_code_lives_a_minute(self) -> None:
        """
        After 60 seconds it is refused, before it is not.
        """
        world = await self.world()
        fresh, stale = await world.code(), await world.code()
        world.clock.advance(seconds=59)
        self.assertEqual((await world.redeem(fresh)).status, 200)
        world.clock.advance(seconds=1)
        self.assertEqual((await world.redeem(stale)).status, 400)

    async def test_malformed_requests_are_told_what_is_missing(self) -> None:
        """
        Missing and repeated parameters are `invalid_request`, other grants unsupported, and
        unknown clients `invalid_client`.
        """
        world = await self.world()
        good = {
            "grant_type": "authorization_code",
            "code": "c",
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        for changes, status, error in (
            ({"grant_type": None}, 400, "invalid_request"),
            ({"code": None}, 400, "invalid_request"),
            ({"redirect_uri": None}, 400, "invalid_request"),
            ({"code_verifier": None}, 400, "invalid_request"),
            ({"client_id": None}, 400, "invalid_request"),
            ({"client_id": "nobody"}, 401, "invalid_client"),
            ({"client_secret": "x"}, 401, "invalid_client"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
            ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
            ({"grant_type": "implicit"}, 400, "unsupported_grant_type"),
            ({}, 400, "invalid_grant"),
        ):
            answer = await world.token(**{**good, **changes})
            self.assertEqual((answer.status, answer.document["error"]), (status, error), changes)
            self.assertEqual(answer.header("cache-control"), "no-store")
            self.assertEqual(answer.header("content-type"), "application/json")
            self.assertEqual(answer.header("www-authenticate") is not None, status == 401)

    async def test_only_a_form_in_the_body_is_taken(self) -> None:
        """
        JSON, a query, credentials in a header, repeated fields and long bodies are refused.
        """
        world = await self.world()
        code = await world.code()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": "wrkst",
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        plain = {"content-type": "application/x-www-form-urlencoded"}
        browser = world.browser()
        for arguments, status in (
            ({"json": form}, 400),
            ({"headers": {**plain, "authorization": "Basic d3Jrc3Q6"}, "data": form}, 401),
            ({"headers": plain, "data": f"code={code}&code={code}".encode()}, 400),
            ({"headers": plain, "data": b"code=" + b"x" * 20000}, 413),
            ({"headers": plain, "data": b"\xff\xfe\x00"}, 400),
            ({"params": {"code": code}, "data": form}, 400),
        ):
            answer = await browser.request("POST", f"{world.url}/oauth2/token", **arguments)
            self.assertEqual(answer.status, status)
            self.assertIn("error", answer.document)
        self.assertEqual(
            (await browser.request("GET", f"{world.url}/oauth2/token", params=form)).status, 405
        )
        self.assertEqual((await world.redeem(code)).status, 200)


class RefreshTests(WorldCase):
    """
    Rotation.
    """

    async def test_a_refresh_replaces_both_tokens(self) -> None:
        """
        Each refresh gives a new access token and a new refresh token, which is good in its turn.
        """
        world = await self.world()
        tokens = await world.login()
        seen = {tokens["refresh_token"]}
        for _ in range(3):
            world.clock.advance(minutes=61)
            self.assertEqual(await world.status(tokens["access_token"]), 401)
            tokens = (await world.refresh(tokens["refresh_token"])).document
            self.assertEqual(await world.status(tokens["access_token"]), 200)
            self.assertNotIn(tokens["refresh_token"], seen)
            seen.add(tokens["refresh_token"])

    async def test_a_replaced_token_that_comes_again_ends_the_session(self) -> None:
        """
        Reuse after the grace kills the whole family: successor and access tokens too.
        """
        world = await self.world()
        first = await world.login()
        second = (await world.refresh(first["refresh_token"])).document
        world.clock.advance(seconds=6)
        reused = await world.refresh(first["refresh_token"])
        self.assertEqual((reused.status, reused.document["error"]), (400, "invalid_grant"))
        for tokens in (first, second):
            self.assertEqual(await world.status(tokens["access_token"]), 401)
            self.assertEqual((await world.refresh(tokens["refresh_token"])).status, 400)

    async def test_reuse_behind_a_used_successor_ends_the_session_at_once(self) -> None:
        """
        The grace is for races only: once the successor was used, the old token is a replay.
        """
        world = await self.world()
        first = await world.login()
        second = (await world.refresh(first["refresh_token"])).document
        third = (await world.refresh(second["refresh_token"])).document
        self.assertEqual((await world.refresh(first["refresh_token"])).status, 400)
        self.assertEqual((await world.refresh(third["refresh_token"])).status, 400)
        self.assertEqual(await world.status(third["access_token"]), 401)

    async def test_a_race_does_not_fork_the_family(self) -> None:
        """
        Sixteen refreshes with one token at once all get the same successor, and it is good.
        """
        world = await self.world()
        tokens = await world.login()
        answers = await gatherResults(
            [Deferred.fromCoroutine(world.refresh(tokens["refresh_token"])) for _ in range(16)]
        )
        self.assertEqual({a.status for a in answers}, {200})
        (successor,) = {a.document["refresh_token"] for a in answers}
        for answer in answers:
            self.assertEqual(await world.status(answer.document["access_token"]), 200)
        self.assertEqual((await world.refresh(successor)).status, 200)

    async def test_another_client_cannot_refresh(self) -> None:
        """
        A refresh token is of no use to another client, and still good for its own.
        """
        world = await self.world()
        tokens = await world.login()
        stolen = await world.refresh(tokens["refresh_token"], client_id=WRANGLER.id)
        self.assertEqual((stolen.status, stolen.document["error"]), (400, "invalid_grant"))
        self.assertEqual((await world.refresh(tokens["refresh_token"])).status, 200)

    async def test_scope_never_widens(self) -> None:
        """
        Less scope is given, more is `invalid_scope` and costs nothing.
        """
        world = await self.world()
        tokens = await world.login(scope="account:read user:read")
        wider = await world.refresh(tokens["refresh_token"], scope="account:read workers:write")
        self.assertEqual((wider.status, wider.document["error"]), (400, "invalid_scope"))
        world.clock.advance(seconds=6)  # no grace: it was not used
        less = await world.refresh(tokens["refresh_token"], scope="user:read")
        self.assertEqual(less.document["scope"], "user:read")
        again = await world.refresh(less.document["refresh_token"])
        self.assertEqual(again.document["scope"], "account:read user:read")

    async def test_a_session_ends_when_idle_and_in_the_end(self) -> None:
        """
        Thirty days without a refresh end it, and so do 180 days of refreshing.
        """
        world = await self.world()
        idle = await world.login()
        busy = await world.login()
        for _ in range(8):
            world.clock.advance(days=20)
            busy = (await world.refresh(busy["refresh_token"])).document
        self.assertEqual((await world.refresh(idle["refresh_token"])).status, 400)
        world.clock.advance(days=19, hours=23, minutes=30)
        last = (await world.refresh(busy["refresh_token"])).document
        self.assertLessEqual(last["expires_in"], 1800)
        world.clock.advance(minutes=30)
        self.assertEqual((await world.refresh(last["refresh_token"])).status, 400)
        self.assertEqual(await world.status(last["access_token"]), 401)

    async def test_what_is_no_refresh_token_refreshes_nothing(self) -> None:
        """
        Access tokens, codes, API tokens and rubbish are `invalid_grant`.
        """
        world = await self.world()
        tokens = await world.login()
        machine, _ = await self.operator_token(world)
        for text in (tokens["access_token"], await world.code(), machine, "x", "wfr_" + "A" * 49):
            answer = await world.refresh(text)
            self.assertEqual((answer.status, answer.document["error"]), (400, "invalid_grant"))

    async def test_who_is_taken_off_the_list_cannot_go_on(self) -> None:
        """
        LOGIN_ALLOW counts at every refresh and request, not only at login.
        """
        world = await self.world(rules=frozenset({"alice@example.com"}))
        tokens = await world.login()
        made = await world.api("POST", "/user/tokens", tokens["access_token"], json={"name": "ci"})
        # Her address changes with her next login elsewhere; the old session follows.
        await world.database.run(
            lambda cursor: cursor.execute("UPDATE users SET email = 'alice@elsewhere.example'")
        )
        self.assertEqual(await world.status(tokens["access_token"]), 401)
        self.assertEqual(await world.status(made.result["value"]), 401)
        self.assertEqual((await world.refresh(tokens["refresh_token"])).status, 400)


class RevocationTests(WorldCase):
    """
    RFC 7009.
    """

    async def test_revoking_either_token_ends_the_session(self) -> None:
        """
        The family goes with a refresh token, current or replaced, and with an access token.
        """
        world = await self.world()
        for which in ("refresh_token", "access_token", "replaced"):
            tokens = await world.login()
            text = tokens["refresh_token" if which == "replaced" else which]
            if which == "replaced":
                tokens = (await world.refresh(text)).document
            answer = await world.post(
                "/oauth2/revoke",
                {"client_id": "wrkst", "token": text, "token_type_hint": "refresh_token"},
            )
            self.assertEqual(answer.status, 200)
            self.assertEqual(await world.status(tokens["access_token"]), 401)
            self.assertEqual((await world.refresh(tokens["refresh_token"])).status, 400)

    async def test_anything_well_formed_is_answered_with_200(self) -> None:
        """
        Unknown, foreign and already revoked tokens are no error, and a foreign one lives on.
        """
        world = await self.world()
        tokens = await world.login()
        for form in (
            {"client_id": "wrkst", "token": "unknown"},
            {"client_id": WRANGLER.id, "token": tokens["refresh_token"]},
            {"client_id": WRANGLER.id, "token": tokens["access_token"]},
            {"token": "unknown"},
        ):
            self.assertEqual((await world.post("/oauth2/revoke", dict(form))).status, 200)
        self.assertEqual(await world.status(tokens["access_token"]), 200)
        for _ in range(2):
            form = {"client_id": "wrkst", "token": tokens["refresh_token"]}
            self.assertEqual((await world.post("/oauth2/revoke", dict(form))).status, 200)

    async def test_a_request_without_a_token_is_malformed(self) -> None:
        """
        No token is `invalid_request`, an unknown client `invalid_client`.
        """
        world = await self.world()
        missing = await world.post("/oauth2/revoke", {"client_id": "wrkst"})
        self.assertEqual((missing.status, missing.document["error"]), (400, "invalid_request"))
        unknown = await world.post("/oauth2/revoke", {"client_id": "evil", "token": "x"})
        self.assertEqual((unknown.status, unknown.document["error"]), (401, "invalid_client"))


class TroubleTests(WorldCase):
    """
    A database that takes nothing.
    """

    async def test_a_store_in_trouble_is_said_to_be_temporary(self) -> None:
        """
        The CLI gets `temporarily_unavailable`, from the redirect and from the token endpoint, and
        the code in its hands is still good afterwards.
        """
        world = await self.world()
        code = await world.code()
        browser = world.browser()
        begun = await browser.request("GET", world.authorize_url())
        approved = await browser.request("GET", begun.location)
        await world.database.stop()
        answer = await browser.request("GET", approved.location)
        self.assertEqual(answer.query["error"], "temporarily_unavailable")
        self.assertEqual(answer.query["state"], "cli-state")
        refused = await world.redeem(code)
        self.assertEqual(
            (refused.status, refused.document["error"]), (503, "temporarily_unavailable")
        )
        self.assertIsNotNone(refused.header("retry-after"))
        form = {"client_id": "wrkst", "token": "wfr_x"}
        self.assertEqual((await world.post("/oauth2/revoke", dict(form))).status, 200)


class MetadataTests(WorldCase):
    """
    RFC 8414.
    """

    async def test_the_metadata_leads_to_endpoints_that_are_there(self) -> None:
        """
        Every endpoint that is named answers something other than 404.
        """
        world = await self.world()
        browser = world.browser()
        answer = await browser.request("GET", f"{world.url}/.well-known/oauth-authorization-server")
        document = answer.document
        self.assertEqual(document["issuer"], world.url)
        for name, method in (("authorization", "GET"), ("token", "POST"), ("revocation", "POST")):
            found = await browser.request(method, document[f"{name}_endpoint"])
            self.assertEqual(found.status, 400)


class AtRestTests(WorldCase):
    """
    What the database file tells.
    """

    async def test_no_credential_is_in_the_database(self) -> None:
        """
        Codes, refresh tokens and API tokens are nowhere in it, only their digests.
        """
        world = await self.world()
        code = await world.code()
        tokens = await world.login()
        machine, _ = await self.operator_token(world)
        second = (await world.refresh(tokens["refresh_token"])).document

        def dump(cursor: object) -> str:
            return "\n".join(cursor.connection.iterdump())  # type: ignore[attr-defined]

        text = await world.database.run(dump)
        for secret in (
            code,
            machine,
            tokens["refresh_token"],
            second["refresh_token"],
            tokens["access_token"],
        ):
            self.assertNotIn(secret, text)
            self.assertNotIn(secret[10:40], text)
        self.assertIn("INSERT INTO", text)


class OddBytesTests(WorldCase):
    """
    Octets that are not what anybody would send.
    """

    async def test_bytes_that_are_no_text_are_no_bug(self) -> None:
        """
        Parameters, cookies and headers that are not UTF-8 are answered like any other mistake.
        """
        world = await self.world()
        browser, plain = world.browser(), {"content-type": "application/x-www-form-urlencoded"}
        begun = await browser.request("GET", world.authorize_url())
        state = begun.query["state"]
        for method, path, headers, data, status in (
            ("POST", "/oauth2/revoke", plain, b"token=%FF%FE", 200),
            ("POST", "/oauth2/revoke", plain, b"token=%FF.%FE.%FD", 200),
            ("POST", "/oauth2/token", {"content-type": b"\xff"}, b"", 400),
            ("POST", "/oauth2/token", plain, b"grant_type=%FF&client_id=%FF", 400),
            ("GET", f"/auth/callback?state={state}&code=x", {"cookie": b"\xff=\xfe; x"}, None, 400),
            ("GET", "/oauth2/auth?client_id=%FF", {}, None, 400),
            ("GET", "/user", {"authorization": b"Bearer \xff"}, None, 401),
        ):
            answer = await world.browser().request(
                method, world.url + path, headers=headers, data=data
            )
            self.assertEqual(answer.status, status, path)
