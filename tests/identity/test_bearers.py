"""What the API takes as a bearer, and what it must never take."""

import base64
import json
import warnings
from datetime import timedelta
from typing import Any
from unittest import mock

import jwt

from tests.identity.world import SECRET, World, WorldCase
from tests.oidc.provider import FIRST_KEY
from workerd_faas.domain.credentials import CredentialKind, write_credential
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.oauth import SCOPES
from workerd_faas.usecases.identity import machine_tokens
from workerd_faas.usecases.identity.keys import Keys


def claims_of(token: str) -> dict[str, Any]:
    """
    The claims of a JWT, unverified.
    """
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def signed(
    claims: dict[str, Any], key: bytes, algorithm: str = "HS256", typ: str | None = "at+jwt"
) -> str:
    """
    A JWT.
    """
    with warnings.catch_warnings():  # of a key that is short for HS512
        warnings.simplefilter("ignore")
        payload = json.dumps(claims).encode()
        return jwt.PyJWS().encode(payload, key, algorithm, headers={"typ": typ})


def unsigned(claims: dict[str, Any], algorithm: str = "none") -> str:
    """
    A JWT with an empty signature.
    """
    parts = ({"typ": "at+jwt", "alg": algorithm}, claims)
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return b".".join([*encoded, b""]).decode()


class BearerTests(WorldCase):
    """
    Bearers over HTTP.
    """

    async def test_an_access_token_says_what_it_is(self) -> None:
        """
        Header and claims follow RFC 9068, and no two tokens share a `jti`.
        """
        world = await self.world()
        first, second = [(await world.login())["access_token"] for _ in range(2)]
        self.assertEqual(jwt.get_unverified_header(first), {"typ": "at+jwt", "alg": "HS256"})
        claims = claims_of(first)
        self.assertEqual((claims["iss"], claims["aud"]), (world.url, world.url))
        self.assertEqual(claims["exp"] - claims["iat"], 3600)
        self.assertEqual(claims["client_id"], "wrkst")
        self.assertEqual(len(claims["sub"]), 32)
        self.assertNotEqual(claims["jti"], claims_of(second)["jti"])
        self.assertNotIn("alice", json.dumps(claims))

    async def test_nothing_but_access_and_api_tokens_is_a_bearer(self) -> None:
        """
        Codes, refresh tokens, ID tokens, API tokens that were never made and rubbish are 401.
        """
        world = await self.world()
        code, tokens = await world.code(), await world.login()
        id_token = FIRST_KEY.sign({"iss": world.provider.issuer, "sub": "alice"})
        for text in (
            None,
            "",
            "x",
            code,
            tokens["refresh_token"],
            id_token,
            write_credential(CredentialKind.API, b"\0" * 32),
            tokens["access_token"] + "x",
            tokens["access_token"][:-1],
            f"{tokens['access_token']} {tokens['access_token']}",
            "a.b.c",
            ". .",
            "é",
        ):
            answer = await world.api("GET", "/user", text)
            self.assertEqual(answer.status, 401, text)
            self.assertEqual(answer.document["errors"][0]["code"], 9109)
            elsewhere = await world.api("GET", "/user/sessions", text)
            self.assertEqual(elsewhere.document["errors"][0]["code"], 10000)
            self.assertEqual(elsewhere.document["errors"][0]["message"], "Authentication error")

    async def test_a_forged_access_token_is_refused(self) -> None:
        """
        Another key, algorithm, type, issuer, audience or session, or no signature at all: 401.
        """
        world = await self.world()
        good = (await world.login())["access_token"]
        claims, key = claims_of(good), world.keys.access_token
        self.assertEqual(await world.status(signed(claims, key)), 200)
        other = Keys.from_secret(b"another secret of thirty-two bytes or more")
        forged = {
            "the secret itself": signed(claims, SECRET),
            "another installation's key": signed(claims, other.access_token),
            "another purpose's key": signed(claims, world.keys.succession),
            "none": unsigned(claims),
            "None": unsigned(claims, "None"),
            "HS256 without a signature": unsigned(claims, "HS256"),
            "HS512": signed(claims, key, "HS512"),
            "typ JWT": signed(claims, key, typ="JWT"),
            "no typ": signed(claims, key, typ=""),
            "issuer": signed({**claims, "iss": "https://evil.example"}, key),
            "audience": signed({**claims, "aud": "https://evil.example"}, key),
            "session": signed({**claims, "sid": "0" * 32}, key),
            "user": signed({**claims, "sub": "0" * 32}, key),
            "expired": signed({**claims, "exp": claims["iat"]}, key),
        }
        for name, text in forged.items():
            self.assertEqual(await world.status(text), 401, name)

    async def test_a_refusal_says_what_was_wrong_with_the_bearer(self) -> None:
        """
        RFC 6750 section 3: a challenge names an error only where a bearer token was brought, and
        what that lacks when it is good.
        """
        world = await self.world()
        realm = 'Bearer realm="workerd-faas"'
        for sent, challenge in (
            ({}, realm),
            ({"authorization": "Basic d3Jrc3Q6"}, realm),
            ({"authorization": "Bearer wrong"}, f'{realm}, error="invalid_token"'),
            ({"authorization": "bearer wrong"}, f'{realm}, error="invalid_token"'),
        ):
            for path in ("/user", "/user/tokens", "/user/tokens/verify"):
                answer = await world.browser().request("GET", world.url + path, headers=sent)
                self.assertEqual(answer.status, 401)
                self.assertEqual(answer.header("www-authenticate"), challenge)
        login = (await world.login(scope="workers:write"))["access_token"]
        made = await world.api("POST", "/user/tokens", login, json={"name": "ci"})
        self.assertEqual(made.result["scopes"], ["user_tokens:write", "workers:write"])
        asked = {"name": "ci", "scopes": ["workers:read"]}
        narrow = await world.api("POST", "/user/tokens", login, json=asked)
        refused = await world.api("GET", "/user/tokens", narrow.result["value"])
        self.assertEqual((refused.status, refused.document["errors"][0]["code"]), (403, 10003))
        self.assertEqual(refused.header("www-authenticate"), f'{realm}, error="insufficient_scope"')

    async def test_a_login_can_do_what_its_scope_says(self) -> None:
        """
        A scope that was asked for restricts the access token, one of a refresh that refresh's
        token alone; who asks for none, or none of ours, gets all.
        """
        world = await self.world()
        for scope, status in (
            (None, 200),
            ("offline_access", 200),
            ("openid profile email", 200),
            (" ".join(SCOPES), 200),
            ("account:read user:read", 403),
            ("tea:write", 403),
        ):
            tokens = await world.login(scope=scope)
            self.assertEqual(await self.can_read_workers(world, tokens), status, scope)
            self.assertEqual(await world.status(tokens["access_token"]), 200)
            own = await world.api("GET", "/user/sessions", tokens["access_token"])
            self.assertEqual(own.status, 200)
        tokens = await world.login()
        less = await world.refresh(tokens["refresh_token"], scope="d1:write")
        self.assertEqual(await self.can_read_workers(world, less.document), 403)
        again = await world.refresh(less.document["refresh_token"])
        self.assertEqual(await self.can_read_workers(world, again.document), 200)

    async def can_read_workers(self, world: World, tokens: dict[str, Any]) -> int:
        """
        The status of making an API token with that scope, which none makes that has it not.
        """
        asked = {"name": "ci", "scopes": ["workers:read"]}
        made = await world.api("POST", "/user/tokens", tokens["access_token"], json=asked)
        return int(made.status)

    async def test_only_the_header_carries_a_bearer(self) -> None:
        """
        A token in the query or with another scheme is not looked at; the scheme's case is free.
        """
        world = await self.world()
        token, _ = await self.operator_token(world)
        browser = world.browser()
        for headers, path, status in (
            ({}, f"/user?access_token={token}", 401),
            ({"authorization": f"Basic {token}"}, "/user", 401),
            ({"authorization": token}, "/user", 401),
            ({"authorization": f"bearer {token}"}, "/user", 200),
            ({"authorization": f"Bearer {token}, Bearer {token}"}, "/user", 401),
        ):
            answer = await browser.request("GET", world.url + path, headers=headers)
            self.assertEqual(answer.status, status, (headers, path))
            if status == 401:
                self.assertTrue((answer.header("www-authenticate") or "").startswith("Bearer"))

    async def test_an_access_token_ends_after_an_hour(self) -> None:
        """
        At 3600 seconds it is over.
        """
        world = await self.world()
        token = (await world.login())["access_token"]
        world.clock.advance(seconds=3599)
        self.assertEqual(await world.status(token), 200)
        world.clock.advance(seconds=1)
        self.assertEqual(await world.status(token), 401)

    async def test_last_use_is_noted_coarsely_and_never_costs_the_request(self) -> None:
        """
        It is written at most every ten minutes, and a full disk does not lock anybody out.
        """
        world = await self.world()
        token, _ = await self.operator_token(world)

        async def last_used() -> str:
            answer = await world.api("GET", "/user/tokens", token)
            return str(answer.result[0]["last_used_on"])

        first = await last_used()
        world.clock.advance(minutes=9)
        self.assertEqual(await last_used(), first)
        world.clock.advance(minutes=1)
        second = await last_used()
        self.assertGreater(second, first)
        world.clock.advance(hours=1)

        touched = FullStore(world.store)
        authenticator = type(world.authenticator)(
            store=touched,
            access_tokens=world.authenticator.access_tokens,
            policy=world.authenticator.policy,
            clock=world.clock,
        )
        principal = await authenticator.authenticate(f"Bearer {token}")
        self.assertTrue(principal.by_token)
        self.assertEqual(touched.refused, 1)


class FullStore:
    """
    A store that reads but cannot note when something was used.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def touch_token(self, token_id: str, now: object) -> None:
        """
        See `IdentityStore`.
        """
        self.refused += 1
        raise Problem(kind=Kind.STORAGE_FULL, message="full")


class UserRoutesTests(WorldCase):
    """
    `/user…`, `/accounts`, `/memberships`.
    """

    async def test_wranglers_questions_are_answered(self) -> None:
        """
        The shapes are those of wrangler's `whoami`, and the lists agree about the account's id.
        """
        world = await self.world()
        token, account = await self.operator_token(world, "acme")
        user = await world.api("GET", "/user", token)
        self.assertEqual(user.result["email"], "acme")
        verify = await world.api("GET", "/user/tokens/verify", token)
        self.assertEqual(verify.result["status"], "active")
        accounts = await world.api("GET", "/accounts?page=1", token)
        self.assertEqual(accounts.result, [{"id": account, "name": "acme", "type": "standard"}])
        self.assertEqual(
            accounts.document["result_info"],
            {"page": 1, "per_page": 20, "count": 1, "total_count": 1, "total_pages": 1},
        )
        memberships = await world.api("GET", "/client/v4/memberships", token)
        self.assertEqual(memberships.result[0]["account"], {"id": account, "name": "acme"})
        self.assertEqual((await world.api("GET", "/memberships?page=2", token)).result, [])
        one = await world.api("GET", f"/accounts/{account}", token)
        self.assertEqual(one.result["id"], account)
        for other in ("0" * 32, "x"):
            answer = await world.api("GET", f"/accounts/{other}", token)
            self.assertEqual(answer.status, 403)

    async def test_every_route_wants_a_bearer(self) -> None:
        """
        Without one each of them is 401, also when the rest of the request is wrong.
        """
        world = await self.world()
        for method, path in (
            ("GET", "/user"),
            ("GET", "/user/tokens/verify"),
            ("GET", "/accounts"),
            ("GET", "/accounts/x"),
            ("GET", "/memberships"),
            ("GET", "/user/tokens"),
            ("POST", "/user/tokens"),
            ("DELETE", "/user/tokens/x"),
            ("GET", "/user/sessions"),
            ("DELETE", "/user/sessions/x"),
        ):
            self.assertEqual((await world.api(method, path, None)).status, 401, (method, path))

    async def test_api_tokens_live_from_creation_to_revocation(self) -> None:
        """
        A token is shown once, works, is listed without its secret, and is dead when revoked.
        """
        world = await self.world()
        login = (await world.login())["access_token"]
        made = await world.api("POST", "/user/tokens", login, json={"name": "ci"})
        secret = made.result["value"]
        self.assertRegex(secret, r"\Awft_[0-9A-Za-z]{49}\Z")
        self.assertEqual(
            sorted(made.result),
            [
                "account",
                "created_on",
                "expires_on",
                "functions",
                "id",
                "last_used_on",
                "name",
                "scopes",
                "value",
            ],
        )
        user = await world.api("GET", "/user", secret)
        self.assertEqual(user.result["email"], "alice@example.com")
        listed = await world.api("GET", "/user/tokens", login)
        self.assertEqual([each["name"] for each in listed.result], ["ci"])
        self.assertNotIn(secret.encode(), listed.body)
        gone = await world.api("DELETE", f"/user/tokens/{made.result['id']}", login)
        self.assertEqual(gone.status, 200)
        self.assertEqual(await world.status(secret), 401)
        again = await world.api("DELETE", f"/user/tokens/{made.result['id']}", login)
        self.assertEqual(again.status, 404)

    async def test_api_tokens_expire(self) -> None:
        """
        `expires_on` is honoured to the second, and one in the past is refused.
        """
        world = await self.world()
        login = (await world.login())["access_token"]
        ends = (world.clock.now() + timedelta(minutes=30)).isoformat()
        made = await world.api(
            "POST", "/user/tokens", login, json={"name": "ci", "expires_on": ends}
        )
        secret = made.result["value"]
        world.clock.advance(minutes=29, seconds=59)
        self.assertEqual(await world.status(secret), 200)
        world.clock.advance(seconds=1)
        self.assertEqual(await world.status(secret), 401)
        for wrong in ("2020-01-01T00:00:00Z", "soon", 5, "9999-12-31T23:59:59-23:59", ""):
            answer = await world.api(
                "POST", "/user/tokens", login, json={"name": "ci", "expires_on": wrong}
            )
            self.assertEqual(answer.status, 400, wrong)

    async def test_a_token_cannot_outlive_the_one_that_made_it(self) -> None:
        """
        With an expiring token one gets tokens that expire no later.
        """
        world = await self.world()
        login = (await world.login())["access_token"]
        ends = (world.clock.now() + timedelta(days=1)).isoformat()
        later = (world.clock.now() + timedelta(days=2)).isoformat()
        parent = await world.api(
            "POST", "/user/tokens", login, json={"name": "parent", "expires_on": ends}
        )
        secret = parent.result["value"]
        child = await world.api("POST", "/user/tokens", secret, json={"name": "child"})
        self.assertEqual(child.result["expires_on"], parent.result["expires_on"])
        refused = await world.api(
            "POST", "/user/tokens", secret, json={"name": "child", "expires_on": later}
        )
        self.assertEqual(refused.status, 400)

    async def test_an_account_has_so_many_tokens(self) -> None:
        """
        One more is a 400 that says what to do, and after a revocation there is room again.
        """
        world = await self.world()
        secret, _ = await self.operator_token(world)
        with mock.patch.object(machine_tokens, "MAX_TOKENS", 3):
            made = [
                await world.api("POST", "/user/tokens", secret, json={"name": "more"})
                for _ in range(3)
            ]
            self.assertEqual([answer.status for answer in made], [200, 200, 400])
            self.assertIn("revoke", made[2].document["errors"][0]["message"])
            await world.api("DELETE", f"/user/tokens/{made[0].result['id']}", secret)
            again = await world.api("POST", "/user/tokens", secret, json={"name": "more"})
            self.assertEqual(again.status, 200)

    async def test_a_tokens_name_is_text(self) -> None:
        """
        Missing, empty, over-long and unprintable names, and bodies that are no object, are 400.
        """
        world = await self.world()
        token, _ = await self.operator_token(world)
        bodies: tuple[Any, ...] = (
            {},
            {"name": ""},
            {"name": " x"},
            {"name": "x" * 101},
            {"name": "a\nb"},
            {"name": 5},
            [],
        )
        for body in bodies:
            answer = await world.api("POST", "/user/tokens", token, json=body)
            self.assertEqual(answer.status, 400, body)
        answer = await world.api("POST", "/user/tokens", token, data=b"{")
        self.assertEqual(answer.status, 400)

    async def test_nobody_touches_anothers_tokens_or_sessions(self) -> None:
        """
        Another account's token or session is as unknown as one that never was.
        """
        world = await self.world()
        alice = await world.login()
        world.provider.person = {"sub": "bob"}
        bob = (await world.login())["access_token"]
        made = await world.api("POST", "/user/tokens", alice["access_token"], json={"name": "a"})
        (session,) = (await world.api("GET", "/user/sessions", alice["access_token"])).result
        for path in (f"/user/tokens/{made.result['id']}", f"/user/sessions/{session['id']}"):
            missing = path.rpartition("/")[0] + "/" + "0" * 32
            answers = [await world.api("DELETE", each, bob) for each in (path, missing)]
            self.assertEqual([a.status for a in answers], [404, 404])
            self.assertEqual(answers[0].body, answers[1].body)
        self.assertEqual((await world.api("GET", "/user/tokens", bob)).result, [])
        self.assertEqual(await world.status(made.result["value"]), 200)
        self.assertEqual(await world.status(alice["access_token"]), 200)

    async def test_sessions_are_listed_and_ended(self) -> None:
        """
        Each login is a session, the current one is marked, and an ended one is dead at once.
        """
        world = await self.world()
        first = await world.login()
        world.clock.advance(seconds=1)
        second = await world.login()
        listed = await world.api("GET", "/user/sessions", second["access_token"])
        self.assertEqual(
            [(each["client"], each["current"]) for each in listed.result],
            [("wrkst", True), ("wrkst", False)],
        )
        other = listed.result[1]["id"]
        ended = await world.api("DELETE", f"/user/sessions/{other}", second["access_token"])
        self.assertEqual(ended.status, 200)
        self.assertEqual(await world.status(first["access_token"]), 401)
        self.assertEqual((await world.refresh(first["refresh_token"])).status, 400)
        self.assertEqual(await world.status(second["access_token"]), 200)
        listed = await world.api("GET", "/user/sessions", second["access_token"])
        self.assertEqual(len(listed.result), 1)

    async def test_an_operators_token_has_no_sessions(self) -> None:
        """
        It belongs to no user.
        """
        world = await self.world()
        await world.login()
        token, _ = await self.operator_token(world)
        self.assertEqual((await world.api("GET", "/user/sessions", token)).result, [])

    async def test_pages_of_tokens_are_honoured(self) -> None:
        """
        `page` and `per_page` cut the list, and the page after the last is empty.
        """
        world = await self.world()
        token, _ = await self.operator_token(world)
        for number in range(4):
            await world.api("POST", "/user/tokens", token, json={"name": f"t{number}"})
        pages = [
            (await world.api("GET", f"/user/tokens?per_page=2&page={page}", token)).result
            for page in (1, 2, 3, 4)
        ]
        self.assertEqual([len(page) for page in pages], [2, 2, 1, 0])
        self.assertEqual(len({each["id"] for page in pages for each in page}), 5)

    async def test_a_token_cannot_do_more_than_was_asked_for(self) -> None:
        """
        Scopes and functions are kept and shown, hold for every request, and are not widened by
        making another token.
        """
        world = await self.world()
        login = (await world.login())["access_token"]
        asked = {"name": "ci", "scopes": ["user_tokens:write", "workers:read"]}
        made = await world.api("POST", "/user/tokens", login, json=asked)
        self.assertEqual(made.result["scopes"], asked["scopes"])
        secret = made.result["value"]
        self.assertEqual((await world.api("GET", "/user", secret)).status, 200)
        wide = await world.api("POST", "/user/tokens", secret, json={"name": "x"})
        self.assertEqual(wide.status, 403)
        narrow = {"name": "x", "scopes": ["workers:read"], "functions": ["shop"]}
        child = await world.api("POST", "/user/tokens", secret, json=narrow)
        self.assertEqual(child.result["functions"], ["shop"])
        refused = await world.api("GET", "/user/tokens", child.result["value"])
        self.assertEqual(refused.status, 403)
        listed = await world.api("GET", "/user/tokens", login)
        self.assertEqual(
            [each["functions"] for each in listed.result if each["name"] == "x"], [["shop"]]
        )
        for wrong in ({"scopes": ["workers:everything"]}, {"functions": "shop"}):
            answer = await world.api("POST", "/user/tokens", login, json={"name": "y", **wrong})
            self.assertEqual(answer.status, 400)
