"""An OpenID provider on a loopback port that can lie and break in any way a test wants."""

import base64
import hashlib
import json
import secrets
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

CLIENT_ID = "workerd faas"
CLIENT_SECRET = "s+cr/t &%:é"
DROP = object()
"""As a claim's value: leave the claim out."""

Broken = Callable[[Request], Any]
"""What an endpoint does in place of what it should."""


@attrs.frozen(kw_only=True)
class SigningKey:
    """
    A private key, and the JWK that tells of it.
    """

    id: str
    algorithm: str
    private: Any

    @classmethod
    def rsa(cls, key_id: str, bits: int = 2048) -> "SigningKey":
        """
        A new one for RS256.
        """
        return cls(id=key_id, algorithm="RS256", private=generate_rsa(65537, bits))

    @classmethod
    def ec(cls, key_id: str) -> "SigningKey":
        """
        A new one for ES256.
        """
        return cls(id=key_id, algorithm="ES256", private=generate_ec(SECP256R1()))

    @property
    def jwk(self) -> dict[str, Any]:
        """
        The public half.
        """
        kind = RSAAlgorithm if self.algorithm.startswith(("RS", "PS")) else ECAlgorithm
        jwk: Any = kind.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.id, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """
        A JWT with these claims.
        """
        with warnings.catch_warnings():  # of short keys, which is what some tests want
            warnings.simplefilter("ignore")
            return jwt.PyJWS().encode(
                json.dumps(claims).encode(),
                self.private,
                self.algorithm,
                headers={"kid": self.id, **(header or {})},
            )


FIRST_KEY = SigningKey.rsa("first")
SECOND_KEY = SigningKey.rsa("second")


@attrs.define(eq=False)
class BreakableProvider:
    """
    Lets everybody in as `person`, at once.

    Attributes:
        now: Seconds since the epoch for ID tokens.
        person: Claims of ID token and userinfo.
        claims: Over those of the ID token.
        userinfo: Over those of userinfo.
        header: More of the ID token's header.
        sign: Makes the ID token of claims and header in place of `keys[0]`.
        published: JWKs, in place of those of `keys`.
        discovery: Over the discovery document.
        token_answer: Over the token endpoint's answer.
        refusal: Parameters of an error answer in place of a code.
        broken: By path, what an endpoint does in place of what it should.
        asked: How often each path was asked.
    """

    issuer: str = ""
    now: Callable[[], float] = lambda: 0.0
    person: dict[str, Any] = attrs.Factory(
        lambda: {"sub": "alice", "email": "Alice@example.com", "email_verified": True}
    )
    keys: list[SigningKey] = attrs.Factory(lambda: [FIRST_KEY])
    claims: dict[str, Any] = attrs.Factory(dict)
    userinfo: dict[str, Any] = attrs.Factory(dict)
    header: dict[str, Any] = attrs.Factory(dict)
    sign: Callable[[Mapping[str, Any], Mapping[str, Any]], str] | None = None
    published: list[Any] | None = None
    discovery: dict[str, Any] = attrs.Factory(dict)
    token_answer: dict[str, Any] = attrs.Factory(dict)
    refusal: dict[str, str] | None = None
    broken: dict[str, Broken] = attrs.Factory(dict)
    asked: Counter[str] = attrs.Factory(Counter)
    seen: list[Mapping[str, str]] = attrs.Factory(list)
    _codes: dict[str, dict[str, str]] = attrs.Factory(dict)
    _port: Any = None

    def listen(self, reactor: Any, tls: Any = None) -> None:
        """
        Open a port, with TLS if there is a context for it; `issuer` is known from then on.
        """
        site = Site(_Root(self), reactor=reactor)
        site.log = lambda request: None  # type: ignore[method-assign]
        if tls is None:
            self._port = reactor.listenTCP(0, site, interface="127.0.0.1")
        else:
            self._port = reactor.listenSSL(0, site, tls, interface="127.0.0.1")
        self.issuer = f"http{'s' if tls else ''}://127.0.0.1:{self._port.getHost().port}"

    async def stop(self) -> None:
        """
        Close it.
        """
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()

    def render(self, request: Request) -> Any:
        """
        Answer a request.
        """
        path = request.path.decode()
        self.asked[path] += 1
        if path in self.broken:
            return self.broken[path](request)
        endpoint = {
            "/.well-known/openid-configuration": self._discovery,
            "/authorize": self._authorize,
            "/token": self._token,
            "/userinfo": self._userinfo,
            "/jwks": self._jwks,
        }.get(path)
        if endpoint is None:
            request.setResponseCode(404)
            return b"{}"
        return endpoint(request)

    def _discovery(self, request: Request) -> bytes:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?fixed=1",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
        }
        return _json(_over(document, self.discovery))

    def _authorize(self, request: Request) -> bytes:
        asked = dict(parse_qsl(request.uri.partition(b"?")[2].decode()))
        self.seen.append(asked)
        answer = {"code": secrets.token_urlsafe(16)}
        self._codes[answer["code"]] = asked
        if self.refusal is not None:
            answer = self.refusal
        query = urlencode({**answer, "state": asked["state"]})
        request.redirect(f"{asked['redirect_uri']}?{query}".encode())
        return b""

    def _token(self, request: Request) -> bytes:
        content: Any = request.content
        form = dict(parse_qsl(content.read().decode()))
        asked = self._codes.pop(form["code"], None)
        if asked is None or not _is_client(request, form) or not _proves(form, asked):
            request.setResponseCode(400)
            return _json({"error": "invalid_grant"})
        now = int(self.now())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
        }
        id_token = (self.sign or self.keys[0].sign)(_over(claims, self.claims), self.header)
        answer = {"access_token": "at-1", "token_type": "Bearer", "id_token": id_token}
        return _json(_over(answer, self.token_answer))

    def _userinfo(self, request: Request) -> bytes:
        if request.getHeader("authorization") != "Bearer at-1":
            request.setResponseCode(401)
        return _json(_over(self.person, self.userinfo))

    def _jwks(self, request: Request) -> bytes:
        published = self.published
        return _json({"keys": [key.jwk for key in self.keys] if published is None else published})


def _over(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**document, **changes}.items() if v is not DROP}


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _is_client(request: Request, form: Mapping[str, str]) -> bool:
    user, password = request.getUser().decode(), request.getPassword().decode()
    if user:
        # RFC 6749 section 2.3.1.
        (pair,) = parse_qsl(f"{user}={password}")
        return pair == (CLIENT_ID, CLIENT_SECRET)
    return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)


def _proves(form: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return challenge == asked["code_challenge"] and form["redirect_uri"] == asked["redirect_uri"]


class _Root(Resource):
    isLeaf = True

    def __init__(self, provider: BreakableProvider) -> None:
        super().__init__()
        self._provider = provider

    def render(self, request: Request) -> Any:
        return self._provider.render(request)


def hangs(request: Request) -> Any:
    """
    Never answer.
    """
    return NOT_DONE_YET


class Abandoned:
    """
    Send nothing, or a byte of JSON space every few milliseconds, until the client goes away.
    """

    def __init__(self, reactor: Any = None) -> None:
        """
        Args:
            reactor: For the dripping; None: send nothing.
        """
        self._reactor = reactor
        self.left: Deferred[None] = Deferred()

    def __call__(self, request: Request) -> Any:
        """
        Begin.
        """
        request.notifyFinish().addBoth(lambda _: self.left.callback(None))
        if self._reactor is not None:
            self._drip(request)
        return NOT_DONE_YET

    def _drip(self, request: Request) -> None:
        if not self.left.called:
            request.write(b" ")
            self._reactor.callLater(0.02, self._drip, request)


def status(code: int, body: bytes = b"{}", **headers: str) -> Broken:
    """
    Answer with this status.
    """

    def answer(request: Request) -> bytes:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        return body

    return answer


class Endless:
    """
    Send `size` bytes of a JSON string, as fast as they are taken.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self.sent = 0
        self.ended = False

    def __call__(self, request: Request) -> Any:
        """
        Begin.
        """
        self._request = request
        request.notifyFinish().addBoth(self._stop)
        request.write(b'{"x": "')
        request.registerProducer(self, False)
        return NOT_DONE_YET

    def resumeProducing(self) -> None:
        """
        See `IPullProducer`.
        """
        if self.ended:
            return
        chunk = b"a" * min(65536, self._left)
        self._left -= len(chunk)
        self.sent += len(chunk)
        self._request.write(chunk)
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """
        See `IPullProducer`.
        """
        self.ended = True

    def _stop(self, _: object) -> None:
        self.ended = True


class EndlessHead(Endless):
    """
    Send `size` bytes of header lines, none of them long, as fast as they are taken.
    """

    def __call__(self, request: Request) -> Any:
        """
        Begin.
        """
        self._request = request
        request.notifyFinish().addBoth(self._stop)
        # What stands on the wire: Twisted would keep headers until the first byte of the body.
        channel: Any = request.channel
        self._wire = channel.transport
        self._wire.write(b"HTTP/1.1 200 OK\r\n")
        self._wire.unregisterProducer()  # the channel, which has nothing to say any more
        self._wire.registerProducer(self, False)
        return NOT_DONE_YET

    def resumeProducing(self) -> None:
        """
        See `IPullProducer`.
        """
        line = b"X-Lie: " + b"a" * 55 + b"\r\n"
        if self.ended or self.sent > self._left:
            self._wire.abortConnection()
            return
        self.sent += 1000 * len(line)
        self._wire.write(1000 * line)
