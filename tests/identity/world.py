"""The whole of identity on loopback ports: real store, real HTTP, a provider that can break."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs
import treq
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, BreakableProvider
from workerd_faas.api.app import Api
from workerd_faas.api.device import DeviceRoutes
from workerd_faas.api.oauth import OAuthRoutes
from workerd_faas.api.request import bearers
from workerd_faas.api.user import UserRoutes
from workerd_faas.domain.identity import LoginPolicy
from workerd_faas.domain.oauth import challenge_of
from workerd_faas.oidc.http import provider_agent
from workerd_faas.oidc.metadata import ProviderSettings
from workerd_faas.oidc.relyingparty import RelyingParty
from workerd_faas.store.database import SQLiteDatabase
from workerd_faas.store.identity import SQLIdentity
from workerd_faas.usecases.identity.access_tokens import AccessTokens
from workerd_faas.usecases.identity.authenticator import BearerAuthenticator
from workerd_faas.usecases.identity.devices import Devices
from workerd_faas.usecases.identity.grants import Grants
from workerd_faas.usecases.identity.keys import Keys
from workerd_faas.usecases.identity.logins import Logins
from workerd_faas.usecases.identity.machine_tokens import MachineTokens
from workerd_faas.usecases.identity.sessions import Sessions

reactor: Any = global_reactor

SECRET = b"a secret of the tests, long enough to sign"
REDIRECT = "http://127.0.0.1:53682/callback"
VERIFIER = "v" * 64
ENDPOINTS = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}


@attrs.define
class SettableClock:
    """
    A time of day that stands still until it is told otherwise.
    """

    moment: datetime = datetime(2026, 11, 23, 12, 0, 0, 0, UTC)

    def now(self) -> datetime:
        """
        See `usecases.ports.WallClock.now`.
        """
        return self.moment

    def advance(self, **lapse: float) -> None:
        """
        Let time pass.
        """
        self.moment += timedelta(**lapse)


@attrs.define
class HurriedReactor:
    """
    A reactor whose monotonic time can be put forward, for what is kept for a while.
    """

    _reactor: Any
    ahead: float = 0.0

    def seconds(self) -> float:
        """
        See `IReactorTime.seconds`.
        """
        return float(self._reactor.seconds()) + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@attrs.frozen
class Answer:
    """
    What came back.
    """

    status: int
    headers: Any
    body: bytes

    @property
    def document(self) -> Any:
        """
        The JSON of it.
        """
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        """
        The result of a success.
        """
        assert self.document["success"] is True, self.document
        return self.document["result"]

    def header(self, name: str) -> str | None:
        """
        A header's only value.
        """
        values = self.headers.getRawHeaders(name)
        if values is None:
            return None
        (value,) = values
        return str(value)

    @property
    def location(self) -> str:
        """
        Where it redirects to.
        """
        assert self.status in (302, 303), (self.status, self.body)
        location = self.header("location")
        assert location is not None
        return location

    @property
    def query(self) -> dict[str, str]:
        """
        The parameters of the redirect.
        """
        return dict(parse_qsl(urlsplit(self.location).query, strict_parsing=True))


class Browser:
    """
    An HTTP client with cookies that shows every step.
    """

    def __init__(self, agent: Any, hosts: frozenset[str]) -> None:
        """
        Args:
            agent: Makes connections.
            hosts: Where redirects are followed to.
        """
        self._agent = agent
        self._hosts = hosts
        self.cookies: dict[tuple[str, str], str] = {}

    async def request(self, method: str, url: str, **arguments: Any) -> Answer:
        """
        One request, no redirect followed.
        """
        headers = dict(arguments.pop("headers", {}))
        host = urlsplit(url).netloc
        mine = [f"{name}={value}" for (at, name), value in self.cookies.items() if at == host]
        if mine:
            headers["cookie"] = "; ".join(mine)
        # treq would send cookies of its own choice, so it gets none.
        response: Any = await treq.request(
            method,
            url,
            headers=headers,
            agent=self._agent,
            allow_redirects=False,
            cookies={},
            **arguments,
        )
        answer = Answer(response.code, response.headers, await response.content())
        for line in response.headers.getRawHeaders("set-cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[host, name] = value
            if "Max-Age=0" in line:
                del self.cookies[host, name]
        return answer

    async def follow(self, url: str) -> Answer:
        """
        Follow redirects up to the one that leads to the CLI, or to a page.
        """
        for _ in range(10):
            answer = await self.request("GET", url)
            if answer.status not in (302, 303):
                return answer
            if urlsplit(answer.location).netloc not in self._hosts:
                return answer
            url = answer.location
        raise AssertionError("redirects without end")


@attrs.define(eq=False)
class World:
    """
    A running API with everything that identity needs.
    """

    url: str
    clock: SettableClock
    provider: BreakableProvider
    store: SQLIdentity
    database: SQLiteDatabase
    authenticator: BearerAuthenticator
    keys: Keys
    time: HurriedReactor
    agent: Any

    def browser(self) -> Browser:
        """
        A browser that was never here.
        """
        hosts = frozenset(urlsplit(url).netloc for url in (self.url, self.provider.issuer))
        return Browser(self.agent, hosts)

    def authorize_url(self, **changes: str | None) -> str:
        """
        What the CLI opens in the browser.
        """
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": "wrkst",
            "redirect_uri": REDIRECT,
            "state": "cli-state",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
        given = {k: v for k, v in {**parameters, **changes}.items() if v is not None}
        return f"{self.url}/oauth2/auth?{urlencode(given)}"

    async def code(self, **changes: str | None) -> str:
        """
        Log in as far as the code.
        """
        answer = await self.browser().follow(self.authorize_url(**changes))
        assert "code" in answer.query, answer.query
        return answer.query["code"]

    async def token(self, **form: str | None) -> Answer:
        """
        Ask the token endpoint.
        """
        return await self.post("/oauth2/token", {"client_id": "wrkst", **form})

    async def redeem(self, code: str, **changes: str | None) -> Answer:
        """
        Redeem a code.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        return await self.token(**{**form, **changes})

    async def refresh(self, refresh_token: str, **changes: str | None) -> Answer:
        """
        Refresh.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.token(**{**form, **changes})

    async def login(self, **changes: str | None) -> dict[str, Any]:
        """
        Log in to tokens.
        """
        answer = await self.redeem(await self.code(**changes))
        assert answer.status == 200, answer.document
        document: dict[str, Any] = answer.document
        return document

    async def post(self, path: str, form: dict[str, str | None], **arguments: Any) -> Answer:
        """
        POST a form.
        """
        given = {k: v for k, v in form.items() if v is not None}
        arguments.setdefault("headers", {"content-type": "application/x-www-form-urlencoded"})
        return await self.browser().request(
            "POST", self.url + path, data=urlencode(given).encode(), **arguments
        )

    async def api(self, method: str, path: str, bearer: str | None, **arguments: Any) -> Answer:
        """
        Call the API.
        """
        headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
        return await self.browser().request(method, self.url + path, headers=headers, **arguments)

    async def status(self, bearer: str | None) -> int:
        """
        Whether the API takes this bearer.
        """
        return (await self.api("GET", "/user", bearer)).status


class WorldCase(TestCase):
    """
    Tests that need the world.
    """

    timeout = 120

    async def world(
        self,
        *,
        rules: frozenset[str] = frozenset(),
        issuer: str | None = None,
        call_timeout: float = 5.0,
        override_endpoints: bool = False,
        client_secret: str | None = CLIENT_SECRET,
        provider_tls: Any = None,
    ) -> World:
        """
        Start one; the test's end stops it.
        """
        clock = SettableClock()
        provider = BreakableProvider(now=lambda: clock.now().timestamp())
        provider.listen(reactor, provider_tls)
        self.addCleanup(lambda: Deferred.fromCoroutine(provider.stop()))
        directory = Path(self.mktemp())
        directory.mkdir()
        database = SQLiteDatabase(reactor, directory / "faas.db")
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        pool = HTTPConnectionPool(reactor, persistent=False)
        port = reactor.listenTCP(0, ServerFactory(), interface="127.0.0.1")
        url = f"http://127.0.0.1:{port.getHost().port}"
        self.addCleanup(port.stopListening)
        time = HurriedReactor(reactor)
        party = RelyingParty(
            settings=ProviderSettings(
                issuer=provider.issuer,
                client_id=CLIENT_ID,
                client_secret=client_secret,
                redirect_uri=f"{url}/auth/callback",
                **{
                    f"{name}_endpoint": f"{provider.issuer}/{path}"
                    for name, path in ENDPOINTS.items()
                    if override_endpoints
                },
            ),
            agent=provider_agent(reactor),
            reactor=time,  # type: ignore[arg-type]
            clock=clock,
            timeout=call_timeout,
        )
        self.addCleanup(party.stop)
        issuer = issuer or url
        store, keys = SQLIdentity(database), Keys.from_secret(SECRET)
        policy = LoginPolicy(rules)
        tokens = AccessTokens(key=keys.access_token, issuer=issuer)
        authenticator = BearerAuthenticator(
            store=store, access_tokens=tokens, policy=policy, clock=clock
        )
        logins = Logins(
            issuer=issuer,
            key=keys.login,
            provider=party,
            store=store,
            policy=policy,
            clock=clock,
        )
        api = Api(
            [
                OAuthRoutes(
                    issuer=issuer,
                    logins=logins,
                    grants=Grants(
                        store=store,
                        access_tokens=tokens,
                        succession_key=keys.succession,
                        policy=policy,
                        clock=clock,
                    ),
                ),
                DeviceRoutes(
                    issuer=issuer,
                    devices=Devices(issuer=issuer, logins=logins, store=store, clock=clock),
                ),
                UserRoutes(
                    auth=authenticator,
                    tokens=MachineTokens(store=store, clock=clock),
                    sessions=Sessions(store=store, clock=clock),
                ),
            ]
        )
        port.factory = api.site(reactor, max_upload=1 << 20, known_by=[bearers(authenticator)])
        port.factory.doStart()
        return World(
            url=url,
            clock=clock,
            provider=provider,
            store=store,
            database=database,
            authenticator=authenticator,
            keys=keys,
            time=time,
            agent=Agent(reactor, pool=pool),
        )

    async def operator_token(self, world: World, account: str = "acme") -> tuple[str, str]:
        """
        A token that the operator made, and its account's id.
        """
        machine = MachineTokens(store=world.store, clock=world.clock)
        new = await machine.create_as_operator(account, "ci")
        return new.secret, new.token.account.id


def random_state() -> str:
    """
    As wrangler makes it.
    """
    return secrets.token_urlsafe(24)
