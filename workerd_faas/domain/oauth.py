"""
The authorization server's rules towards CLI clients, as pure functions.

RFC 6749 (framework), 7636 (PKCE), 8252 (native apps), 8414 (metadata), 9207 (`iss` in answers) and
9700 (best current practice): only the code flow, PKCE with S256 always, redirect URIs on loopback.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

_LOOPBACK_URI: Final = re.compile(
    r"(http://(?:127\.0\.0\.1|localhost|\[::1\])):([1-9][0-9]{0,4})(/[A-Za-z0-9/_-]+)"
)
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*")
_NOT_DESCRIPTION: Final = re.compile(r"[^\x20\x21\x23-\x5B\x5D-\x7E]")

MAX_STATE: Final = 2000
"""Bytes of a client's `state`; it travels to the provider and back inside ours."""

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
"""RFC 8628 section 3.4."""

SCOPES: Final = (
    "account:read", "user:read", "workers:write", "workers_scripts:write", "workers_routes:write",
    "workers_tail:read", "workers_kv:write", "d1:write", "queues:write", "zone:read",
    "k2.read", "k2.write", "pages:write", "ssl_certs:write", "ai:write", "ai-search:write",
    "ai-search:run", "agent-memory:write", "pipelines:write", "secrets_store:write",
    "artifacts:write", "flagship:write", "containers:write", "cloudchamber:write",
    "connectivity:admin", "email_routing:write", "email_sending:write", "browser:write",
    "challenge-widgets.write", "offline_access",
)  # fmt: skip
"""
What can be granted: all that Wrangler asks for by default, since it warns of every one that it does
not get. Most are of products that are not here, and so for nothing; `domain.permissions` says what
the others are for.
"""

_OF_NOTHING_HERE: Final = frozenset({"offline_access", "openid", "profile", "email"})
"""Who asks for these alone has said nothing about what the login is to be able to do."""


@attrs.frozen(kw_only=True)
class Client:
    """
    A public client that is built in.

    Attributes:
        redirects: Its redirect URIs, `*` standing for the port (RFC 8252 section 7.3).
    """

    id: str
    name: str
    redirects: frozenset[str]

    def allows(self, redirect_uri: str) -> bool:
        """
        Whether `redirect_uri` is, but for the port, one of the registered strings.
        """
        match = _LOOPBACK_URI.fullmatch(redirect_uri)
        return (
            match is not None
            and int(match[2]) < 65536
            and f"{match[1]}:*{match[3]}" in self.redirects
        )


WRKST: Final = Client(
    id="wrkst",
    name="wrkst",
    redirects=frozenset(
        f"http://{host}:*/callback" for host in ("127.0.0.1", "localhost", "[::1]")
    ),
)
WRANGLER: Final = Client(
    id="54d11594-84e4-41aa-b438-e81b8fa78ee7",
    name="Wrangler",
    redirects=frozenset({"http://localhost:*/oauth/callback"}),
)
CLIENTS: Final[Mapping[str, Client]] = {client.id: client for client in (WRKST, WRANGLER)}


@attrs.define(auto_exc=True)
class Unredirectable(Exception):
    """
    An authorization request whose client or redirect URI cannot be trusted: it gets a page, never
    a redirect.
    """

    message: str


@attrs.define(auto_exc=True)
class OAuthError(Exception):
    """
    An error answer of RFC 6749 (sections 4.1.2.1 and 5.2).

    Attributes:
        error: The code, such as `invalid_grant`.
        description: For the developer who reads it.
        status: HTTP status of a JSON answer.
    """

    error: str
    description: str
    status: int = 400

    @property
    def document(self) -> dict[str, str]:
        """
        The JSON answer.
        """
        return {"error": self.error, "error_description": described(self.description)}


@attrs.define(auto_exc=True)
class Redirected(Exception):
    """
    An authorization request that failed after its client and redirect URI were found right: the
    client is told.
    """

    to: "ReturnAddress"
    error: OAuthError


@attrs.frozen(kw_only=True)
class ReturnAddress:
    """
    Where an authorization answer goes, and the client's `state` (undecodable bytes as surrogates).
    """

    redirect_uri: str
    state: str | None

    def url(self, issuer: str, answer: Mapping[str, str]) -> str:
        """
        The redirect, with `state` byte for byte as it came and `iss` (RFC 9207).
        """
        state = {} if self.state is None else {"state": self.state}
        query = urlencode(
            {**answer, **state, "iss": issuer}, quote_via=quote, safe="", errors="surrogateescape"
        )
        return f"{self.redirect_uri}?{query}"

    def error_url(self, issuer: str, error: OAuthError) -> str:
        """
        The redirect that tells the client what went wrong.
        """
        return self.url(issuer, error.document)


@attrs.frozen(kw_only=True)
class AuthorizationRequest:
    """
    A valid request at the authorization endpoint.

    Attributes:
        scope: What will be granted, in the order of `SCOPES`.
        challenge: PKCE, S256.
    """

    client_id: str
    back: ReturnAddress
    scope: tuple[str, ...]
    challenge: str


@attrs.frozen
class Parameters:
    """
    Parameters of a query or a form. What came without a value counts as left out, and nothing may
    be repeated (RFC 6749 section 3.1).
    """

    values: Mapping[str, str]
    repeated: frozenset[str]

    @classmethod
    def parse(cls, encoded: bytes) -> "Parameters":
        """
        Decode `application/x-www-form-urlencoded`; bytes that are not UTF-8 become surrogates.
        """
        values: dict[str, str] = {}
        seen: set[str] = set()
        repeated: set[str] = set()
        for pair in encoded.split(b"&"):
            name, _, value = (_decode(part) for part in pair.partition(b"="))
            if name in seen:
                repeated.add(name)
            seen.add(name)
            if value:
                values[name] = value
        return cls(values, frozenset(repeated) - {""})

    def once(self, name: str) -> str | None:
        """
        The value, or None when it is missing or repeated.
        """
        return None if name in self.repeated else self.values.get(name)

    def require(self, name: str) -> str:
        """
        The value.

        Raises:
            OAuthError: `invalid_request` when it is missing or repeated.
        """
        value = self.once(name)
        if value is None:
            what = "stands there twice" if name in self.repeated else "is missing"
            raise OAuthError("invalid_request", f"The parameter {name} {what}.")
        return value

    def refuse_repeated(self) -> None:
        """
        Raises:
            OAuthError: `invalid_request`.
        """
        if self.repeated:
            raise OAuthError("invalid_request", "A parameter stands there twice.")


def _decode(part: bytes) -> str:
    def byte(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[1], 16)])

    octets = re.sub(rb"%([0-9A-Fa-f]{2})", byte, part.replace(b"+", b" "))
    return octets.decode("utf-8", "surrogateescape")


def parse_authorization_request(query: bytes) -> AuthorizationRequest:
    """
    Check a request at the authorization endpoint (RFC 6749 section 4.1.1, RFC 7636 section 4.3).

    Raises:
        Unredirectable: unknown client, or a redirect URI that is not the client's.
        Redirected: anything else that is wrong.
    """
    parameters = Parameters.parse(query)
    client = CLIENTS.get(parameters.once("client_id") or "")
    if client is None:
        raise Unredirectable("The program that sent you here is not known to this server.")
    redirect_uri = parameters.once("redirect_uri") or ""
    if not client.allows(redirect_uri):
        raise Unredirectable(
            "The address to return to is not one that this program may use: it must be this "
            "computer's own (loopback) address."
        )
    state = parameters.once("state")
    back = ReturnAddress(redirect_uri=redirect_uri, state=state)
    try:
        parameters.refuse_repeated()
        return _checked(client, back, parameters)
    except OAuthError as error:
        raise Redirected(back, error) from None


def _checked(client: Client, back: ReturnAddress, parameters: Parameters) -> AuthorizationRequest:
    state = parameters.require("state")
    if len(state.encode("utf-8", "surrogateescape")) > MAX_STATE:
        raise OAuthError("invalid_request", f"state is longer than {MAX_STATE} bytes.")
    if parameters.require("response_type") != "code":
        raise OAuthError("unsupported_response_type", "Only response_type=code is supported.")
    if parameters.values.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "Only response_mode=query is supported.")
    challenge = parameters.require("code_challenge")
    if parameters.values.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge_method must be S256.")
    if not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "code_challenge is not the S256 of a verifier.")
    return AuthorizationRequest(
        client_id=client.id,
        back=back,
        scope=granted_scope(parameters.values.get("scope")),
        challenge=challenge,
    )


def granted_scope(requested: str | None) -> tuple[str, ...]:
    """
    What is granted of a requested scope: what we know of it, `user:read` if we know nothing of it,
    everything when nothing is asked for.

    Raises:
        OAuthError: `invalid_scope` when it is no scope at all.
    """
    words = _words(requested)
    if words <= _OF_NOTHING_HERE:
        return SCOPES
    return tuple(scope for scope in SCOPES if scope in words) or ("user:read",)


def _words(requested: str | None) -> frozenset[str]:
    if requested is None:
        return frozenset()
    if not _SCOPE.fullmatch(requested):
        raise OAuthError("invalid_scope", "scope is not a list of words with single spaces.")
    return frozenset(requested.split(" "))


def narrowed_scope(granted: tuple[str, ...], requested: str | None) -> tuple[str, ...]:
    """
    The scope of a refreshed access token (RFC 6749 section 6): never more than was granted.

    Raises:
        OAuthError: `invalid_scope`.
    """
    if _words(requested) <= _OF_NOTHING_HERE:
        return granted
    wanted = granted_scope(requested)
    if not set(wanted) <= set(granted):
        raise OAuthError("invalid_scope", "scope is wider than what was granted.")
    return wanted


def challenge_of(verifier: str) -> str:
    """
    PKCE's S256 (RFC 7636 section 4.2).
    """
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def proves(verifier: str, challenge: str) -> bool:
    """
    Whether `verifier` is well-formed and the one that `challenge` was made of.
    """
    return _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(
        challenge_of(verifier), challenge
    )


def described(text: str) -> str:
    """
    `text` with nothing in it that an `error_description` may not have, and not too long.
    """
    return _NOT_DESCRIPTION.sub("?", text)[:300]


def server_metadata(issuer: str) -> dict[str, Any]:
    """
    The authorization server's metadata document (RFC 8414 section 2).
    """
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth2/auth",
        "token_endpoint": f"{issuer}/oauth2/token",
        "revocation_endpoint": f"{issuer}/oauth2/revoke",
        "device_authorization_endpoint": f"{issuer}/oauth2/device/auth",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", DEVICE_GRANT],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
