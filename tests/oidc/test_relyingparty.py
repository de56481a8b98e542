"""Logins against a provider that lies, rotates, hangs and floods."""

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from tests.identity.test_bearers import unsigned
from tests.identity.world import World, WorldCase, reactor
from tests.oidc.provider import (
    DROP,
    FIRST_KEY,
    SECOND_KEY,
    Abandoned,
    Endless,
    EndlessHead,
    SigningKey,
    hangs,
    status,
)


class ProviderCase(WorldCase):
    """
    What a login came to.
    """

    async def outcome(self, world: World) -> str:
        """
        `code`, or the error that the CLI is told.
        """
        answer = await world.browser().follow(world.authorize_url())
        self.assertEqual(answer.query["state"], "cli-state")
        self.assertEqual(answer.query["iss"], world.url)
        return "code" if "code" in answer.query else answer.query["error"]

    async def check(self, world: World, expected: str, what: object = None) -> None:
        """
        One login must end so.
        """
        self.assertEqual(await self.outcome(world), expected, what)


class IdTokenTests(ProviderCase):
    """
    ID tokens that must not be believed.
    """

    async def test_wrong_claims_are_refused(self) -> None:
        """
        A wrong or missing issuer, audience, nonce, subject or time is `access_denied`.
        """
        world = await self.world()
        now = world.clock.now().timestamp()
        await self.check(world, "code")
        wrong: tuple[dict[str, Any], ...] = (
            {"iss": DROP},
            {"iss": "https://evil.example"},
            {"iss": world.provider.issuer + "/"},
            {"iss": [world.provider.issuer]},
            {"aud": DROP},
            {"aud": "another client"},
            {"aud": []},
            {"aud": ["workerd faas", "stranger"]},
            {"aud": {"workerd faas": 1}},
            {"azp": "stranger"},
            {"azp": None},
            {"nonce": DROP},
            {"nonce": ""},
            {"nonce": "replayed"},
            {"nonce": None},
            {"sub": DROP},
            {"sub": ""},
            {"sub": " "},
            {"sub": 5},
            {"sub": None},
            {"sub": "x" * 256},
            {"sub": "a\nb"},
            {"exp": DROP},
            {"exp": now - 60},
            {"exp": str(now + 300)},
            {"exp": True},
            {"exp": None},
            {"exp": 1e400},
            {"iat": DROP},
            {"iat": now + 120},
            {"iat": "now"},
            {"nbf": now + 120},
            {"nbf": "later"},
            {"at_hash": "wrong"},
            {"at_hash": 5},
        )
        for claims in wrong:
            world.provider.claims = claims
            await self.check(world, "access_denied", claims)

    async def test_good_variations_are_accepted(self) -> None:
        """
        A list of us alone, our azp, a minute's skew and a right at_hash are fine.
        """
        world = await self.world()
        now = world.clock.now().timestamp()
        digest = hashlib.sha256(b"at-1").digest()[:16]
        for claims in (
            {"aud": ["workerd faas"]},
            {"azp": "workerd faas"},
            {"exp": now - 59},
            {"iat": now + 59},
            {"nbf": now + 59},
            {"iat": now + 0.5},
            {"at_hash": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()},
        ):
            world.provider.claims = claims
            await self.check(world, "code", claims)

    async def test_forged_signatures_are_refused(self) -> None:
        """
        No signature, a stranger's, HMAC with the public key, or a key that came with the token.
        """
        world = await self.world()
        stranger = SigningKey(id="first", algorithm="RS256", private=SECOND_KEY.private)
        pem = FIRST_KEY.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        modulus = str(FIRST_KEY.jwk["n"]).encode()

        def hmac_signed(key: bytes) -> Any:
            def sign(claims: Mapping[str, Any], header: Mapping[str, Any]) -> str:
                head, _, _ = unsigned(dict(claims), "HS256").rpartition(".")
                signature = hmac.digest(key, head.encode(), hashlib.sha256)
                return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

            return sign

        for name, sign in {
            "none": lambda claims, header: unsigned(dict(claims)),
            "nOnE": lambda claims, header: unsigned(dict(claims), "nOnE"),
            "RS256 without a signature": lambda claims, header: unsigned(dict(claims), "RS256"),
            "a stranger's key under the same kid": stranger.sign,
            "the token's own jwk": lambda claims, header: SECOND_KEY.sign(
                claims, {"jwk": SECOND_KEY.jwk, "kid": "second"}
            ),
            "the token's own jku": lambda claims, header: SECOND_KEY.sign(
                claims, {"jku": f"{world.provider.issuer}/evil", "kid": "second"}
            ),
            "HMAC with the PEM": hmac_signed(pem),
            "HMAC with the modulus": hmac_signed(modulus),
            "HMAC with the client secret": hmac_signed(b"s+cr/t &%:"),
            "not a JWT": lambda claims, header: "hello",
            "five parts": lambda claims, header: "a.b.c.d.e",
            "not ASCII": lambda claims, header: "é.é.é",
            "100 KB": lambda claims, header: FIRST_KEY.sign({**claims, "x": "y" * 100_000}),
            "another type": lambda claims, header: FIRST_KEY.sign(claims, {"typ": "logout+jwt"}),
            "unknown crit": lambda claims, header: FIRST_KEY.sign(
                claims, {"crit": ["exp"], "exp": 1}
            ),
            "a cut signature": lambda claims, header: FIRST_KEY.sign(claims)[:-4],
        }.items():
            world.provider.sign = sign
            await self.check(world, "access_denied", name)
        self.assertEqual(world.provider.asked["/evil"], 0)

    async def test_claims_that_are_no_json_are_refused(self) -> None:
        """
        NaN as a time, a key twice, a list and deep nesting are no claims.
        """
        world = await self.world()
        for payload in (
            b'{"exp": NaN}',
            b'{"exp": Infinity}',
            b"[1]",
            b'{"sub": "a", "sub": "b"}',
            b"[" * 5000,
            b"\xff",
            b"",
        ):
            world.provider.sign = lambda claims, header, payload=payload: jwt.PyJWS().encode(
                payload, FIRST_KEY.private, "RS256", headers={"kid": "first"}
            )
            await self.check(world, "access_denied", payload)

    async def test_userinfo_must_speak_of_the_same_person(self) -> None:
        """
        Another subject there, or none, ends the login.
        """
        world = await self.world()
        for userinfo in ({"sub": "bob"}, {"sub": DROP}, {"sub": ""}, {"sub": ["alice"]}):
            world.provider.userinfo = userinfo
            await self.check(world, "access_denied", userinfo)

    async def test_an_email_is_verified_only_by_the_document_it_is_in(self) -> None:
        """
        `email_verified` of the ID token does not vouch for userinfo's address.
        """
        world = await self.world(rules=frozenset({"boss@example.com"}))
        world.provider.claims = {"email": DROP, "email_verified": True}
        world.provider.userinfo = {"email": "boss@example.com", "email_verified": DROP}
        await self.check(world, "access_denied")
        world.provider.userinfo = {"email": "boss@example.com", "email_verified": True}
        await self.check(world, "code")


class KeyTests(ProviderCase):
    """
    The provider's keys.
    """

    async def test_rotated_keys_are_found(self) -> None:
        """
        A token under a new kid makes us fetch the keys anew, and the old key is good no more.
        """
        world = await self.world()
        await self.check(world, "code")
        world.provider.keys = [SECOND_KEY]
        await self.check(world, "code")
        self.assertEqual(world.provider.asked["/jwks"], 2)
        world.provider.sign = FIRST_KEY.sign
        await self.check(world, "access_denied")

    async def test_a_withdrawn_key_is_forgotten(self) -> None:
        """
        A quarter of an hour after the provider took a key back, nothing signed with it counts.
        """
        world = await self.world()
        world.provider.keys = [FIRST_KEY, SECOND_KEY]
        await self.check(world, "code")
        world.provider.keys = [SECOND_KEY]
        world.provider.sign = FIRST_KEY.sign
        await self.check(world, "code")
        world.time.ahead += 900
        await self.check(world, "access_denied")

    async def test_unknown_keys_do_not_make_us_hammer_the_provider(self) -> None:
        """
        However many tokens with unknown kids come, the keys are fetched anew once in 30 seconds.
        """
        world = await self.world()
        world.provider.sign = SECOND_KEY.sign
        for _ in range(10):
            await self.check(world, "access_denied")
        self.assertEqual(world.provider.asked["/jwks"], 2)
        world.time.ahead += 30
        for _ in range(10):
            await self.check(world, "access_denied")
        self.assertEqual(world.provider.asked["/jwks"], 3)
        self.assertEqual(world.provider.asked["/.well-known/openid-configuration"], 1)

    async def test_elliptic_keys_work(self) -> None:
        """
        ES256 is as good as RS256.
        """
        world = await self.world()
        world.provider.keys = [SigningKey.ec("curve")]
        await self.check(world, "code")

    async def test_a_token_without_a_kid_needs_a_single_key(self) -> None:
        """
        With one usable key it is accepted, with two it is not.
        """
        world = await self.world()

        def without_kid(claims: Mapping[str, Any], header: Mapping[str, Any]) -> str:
            return jwt.PyJWS().encode(json.dumps(claims).encode(), FIRST_KEY.private, "RS256")

        world.provider.sign = without_kid
        await self.check(world, "code")
        other = await self.world()
        other.provider.sign = without_kid
        other.provider.keys = [FIRST_KEY, SECOND_KEY]
        await self.check(other, "access_denied")

    async def test_unfit_keys_are_not_used(self) -> None:
        """
        Keys for encryption, for another algorithm, too short or of symmetric kind sign nothing.
        """
        weak = SigningKey.rsa("first", 1024)
        good = FIRST_KEY.jwk
        for published, sign in (
            ([{**good, "use": "enc"}], FIRST_KEY.sign),
            ([{**good, "key_ops": ["encrypt"]}], FIRST_KEY.sign),
            ([{**good, "key_ops": "verify"}], FIRST_KEY.sign),
            ([{**good, "alg": "PS256"}], FIRST_KEY.sign),
            ([{**good, "kty": "oct", "k": "AAAA"}], FIRST_KEY.sign),
            ([{**good, "kty": ["RSA"]}], FIRST_KEY.sign),
            ([{**good, "kid": 1}], FIRST_KEY.sign),
            ([{**good, "n": "!"}], FIRST_KEY.sign),
            ([{**good, "n": 5}], FIRST_KEY.sign),
            ([{**good, "e": None}], FIRST_KEY.sign),
            ([weak.jwk], weak.sign),
            ([None, 5, "x", {}], FIRST_KEY.sign),
            ([], FIRST_KEY.sign),
        ):
            world = await self.world()
            world.provider.published = published
            world.provider.sign = sign
            await self.check(world, "access_denied", published)

    async def test_one_unusable_key_does_not_spoil_the_others(self) -> None:
        """
        Unknown kinds of keys beside the right one are passed over.
        """
        world = await self.world()
        world.provider.published = [
            {"kty": "unknown"},
            None,
            {**SECOND_KEY.jwk, "n": "!"},
            FIRST_KEY.jwk,
        ]
        await self.check(world, "code")


class AnswerTests(ProviderCase):
    """
    What else comes back from the provider.
    """

    async def test_iss_of_the_answer_is_checked(self) -> None:
        """
        Another issuer is refused always, a missing one when the provider announces it (RFC 9207).
        """
        for announced, iss, expected in (
            (False, None, "code"),
            (True, None, "access_denied"),
            (True, "right", "code"),
            (False, "right", "code"),
            (False, "https://evil.example", "access_denied"),
            (True, "https://evil.example", "access_denied"),
        ):
            world = await self.world()
            world.provider.discovery = {"authorization_response_iss_parameter_supported": announced}
            browser = world.browser()
            begun = await browser.request("GET", world.authorize_url())
            approved = await browser.request("GET", begun.location)
            url = approved.location
            if iss is not None:
                url += "&iss=" + (world.provider.issuer if iss == "right" else iss)
            final = await browser.request("GET", url)
            found = "code" if "code" in final.query else final.query["error"]
            self.assertEqual(found, expected, (announced, iss))

    async def test_an_answer_without_one_code_is_no_answer(self) -> None:
        """
        No code, an empty one, or anything twice: `access_denied`, and the provider is not asked.
        """
        for tail in ("", "&code=", "&code=a&code=b", "&code=a&iss=x&iss=y", "&code=a&z=1&z=1"):
            world = await self.world()
            browser = world.browser()
            begun = await browser.request("GET", world.authorize_url())
            state = quote(begun.query["state"])
            final = await browser.request("GET", f"{world.url}/auth/callback?state={state}{tail}")
            self.assertEqual(final.query["error"], "access_denied", tail)
            self.assertEqual(world.provider.asked["/token"], 0)

    async def test_the_client_authenticates_as_the_provider_wants(self) -> None:
        """
        In the header unless the metadata offer only the form; both survive odd characters.
        """
        for methods in (
            DROP,
            ["client_secret_basic"],
            ["client_secret_post"],
            ["private_key_jwt", "client_secret_post"],
        ):
            world = await self.world()
            world.provider.discovery = {"token_endpoint_auth_methods_supported": methods}
            await self.check(world, "code", methods)

    async def test_a_token_answer_that_is_none_is_refused(self) -> None:
        """
        Without ID token, access token or with another token type there is no login.
        """
        world = await self.world()
        for answer in (
            {"id_token": DROP},
            {"id_token": 5},
            {"access_token": DROP},
            {"access_token": "a\r\nb"},
            {"access_token": "é"},
            {"token_type": "DPoP"},
        ):
            world.provider.token_answer = answer
            await self.check(world, "access_denied", answer)

    async def test_a_refused_code_is_access_denied(self) -> None:
        """
        A 400 of the token endpoint is the provider's no.
        """
        world = await self.world()
        world.provider.broken["/token"] = status(400, b'{"error": "invalid_grant"}')
        await self.check(world, "access_denied")


class TroubleTests(ProviderCase):
    """
    A provider that is slow, down, wrong or endless stops logins, and nothing else.
    """

    async def test_a_provider_that_is_down_stops_logins_only(self) -> None:
        """
        The CLI is told at once, tokens already given work on, and logins come back by themselves.
        """
        world = await self.world(call_timeout=0.3)
        tokens = await world.login()
        fresh = await self.world(call_timeout=0.3)
        for broken in (hangs, status(500), status(503), status(404), status(200, b"<html>")):
            fresh.provider.broken["/.well-known/openid-configuration"] = broken
            await self.check(fresh, "temporarily_unavailable", broken)
            fresh.time.ahead += 1
        fresh.provider.broken.clear()
        await self.check(fresh, "code")
        for path in ("/token", "/userinfo"):
            world.provider.broken[path] = hangs
            await self.check(world, "temporarily_unavailable", path)
            del world.provider.broken[path]
        await world.provider.stop()
        self.assertEqual(await world.status(tokens["access_token"]), 200)
        self.assertEqual((await world.refresh(tokens["refresh_token"])).status, 200)
        begun = await world.browser().request("GET", world.authorize_url())
        self.assertEqual(begun.status, 302)  # the metadata are still good

    async def test_keys_that_cannot_be_had_stop_the_login(self) -> None:
        """
        No keys, no login; with keys again, it works.
        """
        world = await self.world(call_timeout=0.3)
        for broken in (hangs, status(500), status(200, b"[]"), status(200, b'{"keys": 5}')):
            world.provider.broken["/jwks"] = broken
            await self.check(world, "temporarily_unavailable", broken)
            world.time.ahead += 1
        world.provider.broken.clear()
        await self.check(world, "code")

    async def test_a_flood_is_cut_off(self) -> None:
        """
        Of 200 MiB we take little more than one, at every endpoint.
        """
        world = await self.world()
        await self.check(world, "code")
        for path in ("/token", "/userinfo"):
            flood = Endless(200 << 20)
            world.provider.broken = {path: flood}
            await self.check(world, "temporarily_unavailable", path)
            self.assertLess(flood.sent, 16 << 20)
        for path in ("/.well-known/openid-configuration", "/jwks"):
            fresh = await self.world()
            flood = Endless(200 << 20)
            fresh.provider.broken = {path: flood}
            await self.check(fresh, "temporarily_unavailable", path)
            self.assertLess(flood.sent, 16 << 20)

    async def test_a_head_without_end_is_cut_off(self) -> None:
        """
        Of 200 MiB of headers we take little more than two, and keep none.
        """
        world = await self.world(call_timeout=60)
        await self.check(world, "code")
        for path in ("/token", "/userinfo"):
            flood = EndlessHead(200 << 20)
            world.provider.broken = {path: flood}
            await self.check(world, "temporarily_unavailable", path)
            self.assertLess(flood.sent, 16 << 20)

    async def test_who_hangs_or_drips_is_left(self) -> None:
        """
        After the total time the connection is closed, however many bytes came in between.
        """
        world = await self.world(call_timeout=0.3)
        await self.check(world, "code")
        for path in ("/token", "/userinfo"):
            for dripping in (None, reactor):
                abandoned = Abandoned(dripping)
                world.provider.broken = {path: abandoned}
                await self.check(world, "temporarily_unavailable", path)
                await abandoned.left

    async def test_a_browser_that_goes_away_ends_the_login(self) -> None:
        """
        When the browser closes its connection the call to the provider ends too, and nothing is
        logged as an error.
        """
        world = await self.world()
        browser = world.browser()
        begun = await browser.request("GET", world.authorize_url())
        approved = await browser.request("GET", begun.location)
        abandoned = Abandoned()
        world.provider.broken = {"/token": abandoned}
        asking = Deferred.fromCoroutine(browser.request("GET", approved.location))
        while not world.provider.asked["/token"]:
            await deferLater(reactor, 0.01)
        asking.cancel()
        await self.assertFailure(asking, CancelledError, ResponseFailed, ResponseNeverReceived)
        await abandoned.left

    async def test_redirects_are_not_followed(self) -> None:
        """
        A provider cannot send our calls, and the secrets in them, elsewhere.
        """
        world = await self.world()
        for code in (301, 302, 303, 307, 308):
            elsewhere = f"{world.provider.issuer}/elsewhere"
            world.provider.broken["/token"] = status(code, b"{}", location=elsewhere)
            await self.check(world, "temporarily_unavailable", code)
        self.assertEqual(world.provider.asked["/elsewhere"], 0)

    async def test_compressed_answers_are_not_unpacked(self) -> None:
        """
        We ask for plain ones, and take a compressed one for the bomb that it may be.
        """
        world = await self.world()
        keys = json.dumps({"keys": [FIRST_KEY.jwk]}).encode()
        for body in (gzip.compress(keys), gzip.compress(b" " * (50 << 20))):
            world.provider.broken["/jwks"] = status(200, body, content_encoding="gzip")
            await self.check(world, "temporarily_unavailable")
            world.time.ahead += 1
        world.provider.broken["/jwks"] = status(200, keys, content_encoding="identity")
        await self.check(world, "code")

    async def test_metadata_that_lie_are_refused(self) -> None:
        """
        Another issuer, endpoints in the clear or missing ones: no login, and no redirect there.
        """
        for discovery in (
            {"issuer": "https://evil.example"},
            {"issuer": DROP},
            {"authorization_endpoint": "http://evil.example/authorize"},
            {"authorization_endpoint": "javascript:alert(1)"},
            {"authorization_endpoint": DROP},
            {"token_endpoint": "http://evil.example/token"},
            {"token_endpoint": ["https://idp.example/token"]},
            {"token_endpoint": DROP},
            {"jwks_uri": "http://10.0.0.1/jwks"},
            {"jwks_uri": DROP},
            {"userinfo_endpoint": "ftp://localhost/x"},
            {"token_endpoint_auth_methods_supported": "client_secret_basic"},
        ):
            world = await self.world()
            world.provider.discovery = discovery
            await self.check(world, "temporarily_unavailable", discovery)

    async def test_a_failing_provider_is_asked_at_most_once_a_second(self) -> None:
        """
        Many logins while it is down cost it one request, and a second later it is asked again.
        """
        world = await self.world()
        world.provider.broken["/.well-known/openid-configuration"] = status(500)
        for _ in range(10):
            await self.check(world, "temporarily_unavailable")
        self.assertLessEqual(world.provider.asked["/.well-known/openid-configuration"], 3)
        world.provider.broken.clear()
        world.time.ahead += 1
        await self.check(world, "code")
