"""The built-in provider: only on this machine, and as strict as a real one."""

import base64
import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from klein import Klein
from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.world import SettableClock
from workerd_faas.domain.idtoken import Expected, check_claims
from workerd_faas.domain.oauth import challenge_of
from workerd_faas.oidc.devprovider.provider import DevProvider, NotLocal
from workerd_faas.oidc.devprovider.routes import DevProviderRoutes
from workerd_faas.oidc.metadata import ProviderSettings, read_metadata
from workerd_faas.oidc.signature import read_keys, verified_claims

ISSUER = "http://localhost:8080/dev-provider"
REDIRECT = "http://localhost:8080/auth/callback"
VERIFIER = "v" * 43
QUERY = {
    "response_type": "code",
    "client_id": "faas",
    "redirect_uri": REDIRECT,
    "scope": "openid email profile",
    "state": "st/ate+&",
    "nonce": "n",
    "code_challenge": challenge_of(VERIFIER),
    "code_challenge_method": "S256",
}


def provider(**changes: Any) -> DevProvider:
    """
    A provider, that differs so from a good one.
    """
    arguments = {
        "issuer": ISSUER,
        "client_id": "faas",
        "client_secret": "secret",
        "redirect_uri": REDIRECT,
        "interfaces": ["127.0.0.1", "::1"],
        "reactor": Clock(),
        "clock": SettableClock(),
    }
    return DevProvider(**{**arguments, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://faas.example.com/dev-provider"},
        {"issuer": "http://192.168.1.5:8080/dev-provider"},
        {"issuer": "http://localhost.example.com/dev-provider"},
        {"redirect_uri": "https://faas.example.com/auth/callback"},
        {"interfaces": ["0.0.0.0"]},
        {"interfaces": ["127.0.0.1", "::"]},
        {"interfaces": ["192.168.1.5"]},
        {"interfaces": [""]},
    ],
)
def test_it_refuses_to_be_reachable_from_elsewhere(changes: dict[str, Any]) -> None:
    """
    A host or an address that is not loopback ends its making.
    """
    with pytest.raises(NotLocal):
        provider(**changes)


class Form(HTMLParser):
    """
    The form of a page.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        if tag == "input":
            self.fields[given["name"]] = given.get("value", "")


class DevProviderTests(SynchronousTestCase):
    """
    Its endpoints over HTTP.
    """

    def setUp(self) -> None:
        """
        A provider on an application.
        """
        self.clock, self.wall = Clock(), SettableClock()
        self.provider = provider(reactor=self.clock, clock=self.wall)
        app = Klein()
        DevProviderRoutes(self.provider).register(app)
        self.treq: Any = StubTreq(app.resource())

    def ask(self, method: str, path: str, **arguments: Any) -> tuple[Any, bytes]:
        """
        One request.
        """
        response = self.successResultOf(
            self.treq.request(method, ISSUER + path, allow_redirects=False, **arguments)
        )
        return response, self.successResultOf(response.content())

    def sign_in(self, name: str = "Ada", **changes: str) -> Any:
        """
        Fill in the form.
        """
        _, page = self.ask("GET", "/authorize?" + urlencode({**QUERY, **changes}, quote_via=quote))
        form = Form(page.decode())
        self.assertEqual(form.action, ISSUER + "/authorize")
        response, _ = self.ask("POST", "/authorize", data={**form.fields, "name": name})
        return response

    def code(self, name: str = "Ada") -> str:
        """
        A code for somebody.
        """
        (location,) = self.sign_in(name).headers.getRawHeaders("location")
        code: str = dict(parse_qsl(urlsplit(location).query))["code"]
        return code

    def redeem(self, code: str, **changes: Any) -> tuple[int, dict[str, Any]]:
        """
        Redeem a code.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
            **changes.pop("form", {}),
        }
        changes.setdefault("auth", ("faas", "secret"))
        response, body = self.ask("POST", "/token", data=form, **changes)
        return response.code, json.loads(body)

    def test_its_metadata_are_what_our_own_client_wants(self) -> None:
        """
        The relying party takes the discovery document.
        """
        _, body = self.ask("GET", "/.well-known/openid-configuration")
        settings = ProviderSettings(
            issuer=ISSUER, client_id="faas", client_secret="secret", redirect_uri=REDIRECT
        )
        metadata = read_metadata(json.loads(body), settings)
        self.assertEqual(metadata.token_endpoint, ISSUER + "/token")
        self.assertTrue(metadata.says_issuer)

    def test_signing_in_leads_back_with_a_code(self) -> None:
        """
        The redirect has code, state and iss, and the token answer an ID token that holds.
        """
        response = self.sign_in("Ada")
        self.assertEqual(response.code, 303)
        (location,) = response.headers.getRawHeaders("location")
        answer = dict(parse_qsl(urlsplit(location).query))
        self.assertTrue(location.startswith(REDIRECT + "?"))
        self.assertEqual((answer["state"], answer["iss"]), ("st/ate+&", ISSUER))
        status, tokens = self.redeem(answer["code"])
        self.assertEqual(status, 200)
        _, body = self.ask("GET", "/jwks")
        claims, _ = verified_claims(tokens["id_token"], read_keys(json.loads(body)))
        expected = Expected(
            issuer=ISSUER, client_id="faas", nonce="n", now=self.wall.now().timestamp()
        )
        subject = check_claims(claims, expected)
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        _, body = self.ask("GET", "/userinfo", headers=headers)
        self.assertEqual(json.loads(body)["sub"], subject)
        self.assertEqual(json.loads(body)["name"], "Ada")
        self.assertNotIn("email", json.loads(body))

    def test_a_name_with_an_at_sign_is_a_verified_address(self) -> None:
        """
        So that LOGIN_ALLOW can be tried out.
        """
        _, tokens = self.redeem(self.code("ada@example.com"))
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        _, body = self.ask("GET", "/userinfo", headers=headers)
        self.assertEqual(json.loads(body)["email"], "ada@example.com")
        self.assertIs(json.loads(body)["email_verified"], True)

    def test_wrong_requests_get_a_page(self) -> None:
        """
        Another client, redirect URI, response type, scope or PKCE method: 400 and no redirect.
        """
        for changes in (
            {"client_id": "other"},
            {"redirect_uri": "http://evil.example/"},
            {"response_type": "token"},
            {"scope": "email"},
            {"code_challenge_method": "plain"},
            {"code_challenge": ""},
        ):
            response, _ = self.ask("GET", "/authorize?" + urlencode({**QUERY, **changes}))
            self.assertEqual(response.code, 400, changes)
            response, _ = self.ask("POST", "/authorize", data={**QUERY, **changes, "name": "A"})
            self.assertEqual(response.code, 400, changes)
            self.assertIsNone(response.headers.getRawHeaders("location"))

    def test_names_that_are_none_are_refused(self) -> None:
        """
        Empty, blank, over-long and unprintable names.
        """
        for name in ("", "  ", "x" * 101, "a\x00b", "a\nb"):
            self.assertEqual(self.sign_in(name).code, 400, name)

    def test_nothing_breaks_out_of_the_page(self) -> None:
        """
        What the request says stands in the page only as text.
        """
        evil = '"><script>alert(1)</script>'
        _, page = self.ask("GET", "/authorize?" + urlencode({**QUERY, "state": evil}))
        self.assertNotIn(b"<script", page)
        self.assertEqual(Form(page.decode()).fields["state"], evil)

    def test_a_code_is_good_once_for_its_client_and_verifier(self) -> None:
        """
        Replay, wrong verifier, redirect URI or credentials, and old age are refused.
        """
        code = self.code()
        self.assertEqual(self.redeem(code)[0], 200)
        self.assertEqual(self.redeem(code)[0], 400)
        for changes, status in (
            ({"form": {"code_verifier": "w" * 43}}, 400),
            ({"form": {"redirect_uri": "http://localhost/"}}, 400),
            ({"form": {"grant_type": "password"}}, 400),
            ({"auth": ("faas", "wrong")}, 401),
            ({"auth": ("other", "secret")}, 401),
            ({"auth": None}, 401),
            ({"auth": None, "headers": {"authorization": "Basic !"}}, 401),
            (
                {"auth": None, "headers": {"authorization": b"Basic " + base64.b64encode(b"\xff")}},
                401,
            ),
        ):
            self.assertEqual(self.redeem(self.code(), **changes)[0], status, changes)
        code = self.code()
        self.clock.advance(60)
        self.assertEqual(self.redeem(code)[0], 400)

    def test_credentials_may_stand_in_the_form(self) -> None:
        """
        client_secret_post works too.
        """
        form = {"client_id": "faas", "client_secret": "secret"}
        self.assertEqual(self.redeem(self.code(), auth=None, form=form)[0], 200)

    def test_an_access_token_gets_old(self) -> None:
        """
        After five minutes, and without one at all, userinfo says 401.
        """
        _, tokens = self.redeem(self.code())
        self.clock.advance(300)
        for headers in (
            {"authorization": f"Bearer {tokens['access_token']}"},
            {"authorization": "Bearer x"},
            {},
        ):
            response, _ = self.ask("GET", "/userinfo", headers=headers)
            self.assertEqual(response.code, 401)

    def test_what_it_keeps_is_bounded(self) -> None:
        """
        Thousands of unfinished logins do not pile up.
        """
        asked = self.provider.check(QUERY)
        for _ in range(1100):
            self.provider.sign_in(asked, "Ada")
        self.assertLessEqual(len(self.provider._codes), 1000)
