"""
What the built-in provider knows: codes, access tokens and a signing key, all in memory.

It keeps to the standards (OpenID Connect Core, RFC 7636) so that logins with it go through the same
code as those with a real one.
"""

import base64
import hashlib
import hmac
import json
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm
from twisted.internet.interfaces import IReactorTime

from workerd_faas.oidc.metadata import is_loopback_host
from workerd_faas.usecases import ports

CODE_SECONDS: Final = 60
TOKEN_SECONDS: Final = 300
_LONGEST_NAME: Final = 100
_MAX_KEPT: Final = 1000
_KEY_ID: Final = "dev"
_JWS: Final = jwt.PyJWS(algorithms=["RS256"])


class NotLocal(Exception):
    """
    The provider of `--dev` would be reachable from other machines.
    """


@attrs.define(auto_exc=True)
class Refused(Exception):
    """
    An error answer of RFC 6749.
    """

    error: str
    description: str
    status: int = 400


@attrs.frozen(kw_only=True)
class SignIn:
    """
    A valid authentication request.
    """

    redirect_uri: str
    state: str | None
    nonce: str | None
    challenge: str


@attrs.frozen
class _Issued:
    person: Mapping[str, Any]
    until: float
    request: SignIn | None = None


class DevProvider:
    """
    One provider with one client.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        interfaces: Iterable[str],
        reactor: IReactorTime,
        clock: ports.WallClock,
    ) -> None:
        """
        Args:
            issuer: URL below which its endpoints are, without a trailing slash.
            client_id: Of the one client.
            client_secret: Of the one client.
            redirect_uri: Of the one client.
            interfaces: Addresses that the daemon listens on.
            reactor: Monotonic time.
            clock: The time of day for ID tokens.

        Raises:
            NotLocal: `issuer`, `redirect_uri` or an interface is not on loopback.
        """
        hosts = [urlsplit(issuer).hostname or "", urlsplit(redirect_uri).hostname or ""]
        for host in (*hosts, *interfaces):
            if not is_loopback_host(host):
                raise NotLocal(f"the provider of --dev is for this machine only, not for {host!r}")
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._reactor = reactor
        self._clock = clock
        self._key: RSAPrivateKey = generate_private_key(65537, 2048)
        self._codes: dict[str, _Issued] = {}
        self._tokens: dict[str, _Issued] = {}

    def metadata(self) -> dict[str, Any]:
        """
        The discovery document.
        """
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "scopes_supported": ["openid", "email", "profile"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified"],
            "authorization_response_iss_parameter_supported": True,
        }

    def jwks(self) -> dict[str, Any]:
        """
        The public key.
        """
        jwk = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**jwk, "kid": _KEY_ID, "use": "sig", "alg": "RS256"}]}

    def check(self, query: Mapping[str, str]) -> SignIn:
        """
        Check an authentication request.

        Raises:
            Refused: it gets a page, since nobody else comes here by accident.
        """
        if query.get("client_id") != self._client_id:
            raise Refused("invalid_client", "client_id is unknown.")
        if query.get("redirect_uri") != self._redirect_uri:
            raise Refused("invalid_request", "redirect_uri is not registered.")
        if query.get("response_type") != "code":
            raise Refused("unsupported_response_type", "response_type must be code.")
        if "openid" not in query.get("scope", "").split():
            raise Refused("invalid_scope", "scope must have openid in it.")
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            raise Refused("invalid_request", "PKCE with S256 is required.")
        return SignIn(
            redirect_uri=query["redirect_uri"],
            state=query.get("state"),
            nonce=query.get("nonce"),
            challenge=query["code_challenge"],
        )

    def sign_in(self, request: SignIn, name: str) -> str:
        """
        Let a person in; return the code.

        Raises:
            Refused: the name is empty, too long or has control characters.
        """
        name = unicodedata.normalize("NFC", name.strip())
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise Refused("invalid_request", f"A name takes 1 to {_LONGEST_NAME} characters.")
        person: dict[str, Any] = {
            "sub": hashlib.sha256(name.encode()).hexdigest()[:32],
            "name": name,
            "preferred_username": name,
        }
        if "@" in name:
            person |= {"email": name, "email_verified": True}
        return self._issue(self._codes, person, CODE_SECONDS, request)

    def redeem(self, form: Mapping[str, str], authorization: str | None) -> dict[str, Any]:
        """
        Answer the token endpoint.

        Raises:
            Refused: as RFC 6749 section 5.2 has it.
        """
        self._authenticate(form, authorization)
        if form.get("grant_type") != "authorization_code":
            raise Refused("unsupported_grant_type", "Only authorization_code is supported.")
        issued = self._codes.pop(form.get("code", ""), None)
        if issued is None or issued.request is None or issued.until <= self._reactor.seconds():
            raise Refused("invalid_grant", "The code is not valid (any more).")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if form.get("redirect_uri") != issued.request.redirect_uri:
            raise Refused("invalid_grant", "redirect_uri is another one.")
        if not hmac.compare_digest(challenge.encode(), issued.request.challenge.encode()):
            raise Refused("invalid_grant", "code_verifier is another one.")
        return {
            "access_token": self._issue(self._tokens, issued.person, TOKEN_SECONDS, None),
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": "openid email profile",
            "id_token": self._id_token(issued.person, issued.request.nonce),
        }

    def userinfo(self, authorization: str | None) -> Mapping[str, Any]:
        """
        Who the bearer of an access token is.

        Raises:
            Refused: the token is not valid.
        """
        scheme, _, token = (authorization or "").partition(" ")
        issued = self._tokens.get(token)
        if scheme.lower() != "bearer" or issued is None or issued.until <= self._reactor.seconds():
            raise Refused("invalid_token", "The access token is not valid (any more).", 401)
        return issued.person

    def _authenticate(self, form: Mapping[str, str], authorization: str | None) -> None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization is not None:
            try:
                scheme, _, encoded = authorization.partition(" ")
                pair = base64.b64decode(encoded, validate=True).decode()
            except ValueError:
                scheme, pair = "", ""
            if scheme.lower() == "basic":
                client_id, secret = (unquote_plus(part) for part in (pair + ":").split(":")[:2])
        expected = f"{self._client_id}\0{self._client_secret}".encode()
        if not hmac.compare_digest(f"{client_id}\0{secret}".encode(), expected):
            raise Refused("invalid_client", "The client's credentials are wrong.", 401)

    def _id_token(self, person: Mapping[str, Any], nonce: str | None) -> str:
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self._client_id,
            "iat": now,
            "auth_time": now,
            "exp": now + TOKEN_SECONDS,
            **person,
        }
        if nonce is not None:
            claims["nonce"] = nonce
        return _JWS.encode(
            json.dumps(claims).encode(), self._key, "RS256", headers={"kid": _KEY_ID}
        )

    def _issue(
        self,
        kept: dict[str, _Issued],
        person: Mapping[str, Any],
        seconds: int,
        request: SignIn | None,
    ) -> str:
        credential = secrets.token_urlsafe(32)
        now = self._reactor.seconds()
        for old in [key for key, issued in kept.items() if issued.until <= now]:
            del kept[old]
        while len(kept) >= _MAX_KEPT:
            del kept[next(iter(kept))]
        kept[credential] = _Issued(person, now + seconds, request)
        return credential
