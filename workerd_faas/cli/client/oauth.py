"""
The client's half of OAuth 2: authorization code with PKCE for a native app (RFC 8252), refresh
and revocation. The pure parts make and read URLs; `OAuth` talks to the token endpoint.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs

from workerd_faas.cli.client.address import same_origin
from workerd_faas.cli.client.http import Answer, Content, Http
from workerd_faas.cli.failure import Exit, Failure

CLIENT_ID: Final = "wrkst"
CALLBACK_PATH: Final = "/callback"
METADATA_PATH: Final = "/.well-known/oauth-authorization-server"
LOGIN_HINT: Final = "run `wrkst login`, or set WRKST_TOKEN to an API token"


def login_needed(message: str, hint: str = LOGIN_HINT) -> Failure:
    """
    The command needs somebody logged in.
    """
    return Failure(message, hint=hint, status=Exit.LOGIN)


def refused(why: object) -> Failure:
    """
    The server does not let this person in. It is not for the next login to mend.

    Args:
        why: The server's words, if it said any.
    """
    return Failure(
        f"The login was refused: {why}" if isinstance(why, str) else "The login was refused.",
        hint="whoever runs the server can say why",
        status=Exit.LOGIN,
    )


@attrs.frozen(kw_only=True)
class Endpoints:
    """
    What the server's metadata say (RFC 8414).

    Attributes:
        device: Where logins of machines without a browser begin (RFC 8628).
        iss_announced: The server promises `iss` in its authorization responses (RFC 9207).
    """

    issuer: str
    authorization: str
    token: str
    revocation: str | None
    device: str | None = None
    iss_announced: bool


@attrs.frozen(kw_only=True)
class Tokens:
    """
    What a login gave. `expires_at` is in seconds since the epoch.
    """

    access_token: str = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(repr=False)
    expires_at: float


@attrs.frozen(kw_only=True)
class Attempt:
    """
    One login: what was sent and what the answer must fit.
    """

    endpoints: Endpoints
    redirect_uri: str
    state: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = attrs.field(factory=lambda: secrets.token_urlsafe(64), repr=False)

    @property
    def challenge(self) -> str:
        """
        The S256 challenge of the verifier (RFC 7636 section 4.2).
        """
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def url(self) -> str:
        """
        Where the browser goes.
        """
        query = urlencode(
            {
                "response_type": "code",
                "client_id": CLIENT_ID,
                "redirect_uri": self.redirect_uri,
                "scope": "offline_access",
                "state": self.state,
                "code_challenge": self.challenge,
                "code_challenge_method": "S256",
            }
        )
        separator = "&" if urlsplit(self.endpoints.authorization).query else "?"
        return f"{self.endpoints.authorization}{separator}{query}"

    def is_ours(self, query: str) -> bool:
        """
        Whether a callback belongs to this attempt; anything else is to be ignored.
        """
        states = parse_qs(query, keep_blank_values=True).get("state", [])
        return len(states) == 1 and hmac.compare_digest(
            states[0].encode("utf-8", "replace"), self.state.encode()
        )

    def code_from(self, query: str) -> str:
        """
        The authorization code in the query of a callback.

        Raises:
            Failure: the answer is not for this attempt or not from this server, or a refusal.
        """
        fields = parse_qs(query, keep_blank_values=True)
        repeated = [name for name, values in fields.items() if len(values) > 1]
        if repeated:
            raise login_needed(f"The answer of the login repeats {repeated[0]!r}.")
        answer = {name: values[0] for name, values in fields.items()}
        if not self.is_ours(query):
            raise login_needed("The answer belongs to another login attempt.")
        issuer = answer.get("iss")
        if (issuer is not None or self.endpoints.iss_announced) and (
            issuer != self.endpoints.issuer
        ):
            raise login_needed("The answer of the login does not come from this server.")
        error, text = answer.get("error"), answer.get("error_description")
        if error == "access_denied":
            raise refused(text)
        if error is not None:
            raise login_needed(f"The login failed: {text or error}")
        if not answer.get("code"):
            raise login_needed("The answer of the login has no code.")
        return answer["code"]


class SessionEnded(Failure):
    """
    The refresh token is no longer good: somebody must log in anew.
    """

    def __init__(self) -> None:
        super().__init__("Your session has ended.", hint=LOGIN_HINT, status=Exit.LOGIN)


@attrs.define(kw_only=True)
class OAuth:
    """
    The server's endpoints.

    Attributes:
        base_url: The server; everything that gets a token must be on this origin.
        now: Seconds since the epoch: expiry is a matter of the calendar.
    """

    http: Http
    base_url: str
    now: Callable[[], float] = time.time

    def discover(self) -> Endpoints:
        """
        Read the server's metadata.

        Raises:
            Failure: there are none, or they are another server's.
        """
        answer = self.http.send("GET", self.base_url + METADATA_PATH)
        document = _json_object(answer)
        if answer.status != 200 or document is None:
            raise Failure(
                f"{self.base_url} does not look like a workerd-faas server "
                f"(status {answer.status} instead of its login metadata).",
                hint="check the address with `wrkst config show`",
            )
        issuer = str(document.get("issuer", ""))
        if issuer != self.base_url:
            raise Failure(
                f"The server at {self.base_url} calls itself {issuer}.",
                hint=f"run `wrkst config set-url {issuer}` if that is the one you mean",
            )
        endpoints = Endpoints(
            issuer=issuer,
            authorization=str(document.get("authorization_endpoint", "")),
            token=str(document.get("token_endpoint", "")),
            revocation=document.get("revocation_endpoint"),
            device=document.get("device_authorization_endpoint"),
            iss_announced=document.get("authorization_response_iss_parameter_supported") is True,
        )
        for url in (
            endpoints.authorization,
            endpoints.token,
            endpoints.revocation,
            endpoints.device,
        ):
            if url is not None and not same_origin(url, self.base_url):
                raise Failure(f"The server's login metadata point elsewhere: {url!r}.")
        return endpoints

    def redeem(self, attempt: Attempt, code: str) -> Tokens:
        """
        Exchange the code.

        Raises:
            Failure: the server does not take it.
        """
        return self._tokens(
            attempt.endpoints,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": attempt.redirect_uri,
                "client_id": CLIENT_ID,
                "code_verifier": attempt.verifier,
            },
            previous=None,
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """
        New tokens for a refresh token, which is spent by this.

        Raises:
            SessionEnded: the server does not know it any more.
            Failure: no usable answer; the old one may still be good.
        """
        return self._tokens(
            self.discover(),
            {
                "grant_type": "refresh_token",
                "refresh_token": refresh_token,
                "client_id": CLIENT_ID,
            },
            previous=refresh_token,
        )

    def revoke(self, refresh_token: str) -> None:
        """
        End the session on the server (RFC 7009).

        Raises:
            Failure: the server did not take it.
        """
        endpoints = self.discover()
        if endpoints.revocation is None:
            raise Failure("The server cannot end sessions.")
        form = {
            "token": refresh_token,
            "token_type_hint": "refresh_token",
            "client_id": CLIENT_ID,
        }
        answer = self.http.send("POST", endpoints.revocation, body=_form(form))
        if answer.status != 200:
            raise Failure(f"The server did not end the session (status {answer.status}).")

    def _tokens(
        self, endpoints: Endpoints, form: Mapping[str, str], *, previous: str | None
    ) -> Tokens:
        status, document = self.post(endpoints.token, form)
        if status == 200:
            return self.tokens_of(document, previous)
        if document.get("error") == "invalid_grant" and previous is not None:
            raise SessionEnded
        reason = document.get("error_description") or document.get("error")
        raise login_needed(
            f"The server gave no token (status {status}"
            + (f": {reason})." if isinstance(reason, str) else ").")
        )

    def post(self, url: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """
        Send a form; returns the status and the JSON object that came back, if one did.
        """
        answer = self.http.send("POST", url, body=_form(form))
        return answer.status, _json_object(answer) or {}

    def tokens_of(self, document: Mapping[str, Any], previous: str | None) -> Tokens:
        """
        What the token endpoint gave.

        Raises:
            Failure: there is no token in it.
        """
        access, refresh = document.get("access_token"), document.get("refresh_token")
        if not isinstance(access, str):
            raise login_needed("The server gave no token.")
        lifetime = document.get("expires_in")
        return Tokens(
            access_token=access,
            refresh_token=refresh if isinstance(refresh, str) else previous,
            expires_at=self.now() + (lifetime if isinstance(lifetime, int | float) else 60),
        )


def _form(fields: Mapping[str, str]) -> Content:
    return Content("application/x-www-form-urlencoded", urlencode(fields).encode())


def _json_object(answer: Answer) -> dict[str, Any] | None:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
