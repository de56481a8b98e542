"""
Access tokens: JWTs in the profile of RFC 9068, signed by us for us (HS256).

A token names the session that it came of, and is good only while that lives: the authenticator
looks the session up, so that ending one ends its access tokens at once.
"""

import json
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
import jwt

from workerd_faas.domain.identity import Session

LIFETIME: Final = timedelta(hours=1)
_ALGORITHM: Final = "HS256"
_TYPE: Final = "at+jwt"
_JWS: Final = jwt.PyJWS(algorithms=[_ALGORITHM])


@attrs.frozen(kw_only=True)
class AccessToken:
    """
    What a valid access token says.
    """

    session_id: str
    user_id: str
    client_id: str
    scope: tuple[str, ...]


@attrs.frozen(kw_only=True)
class AccessTokens:
    """
    Makes and checks access tokens.

    Attributes:
        key: For nothing else.
        issuer: The API's URL: issuer and audience are the same server.
    """

    key: bytes = attrs.field(repr=False)
    issuer: str

    def make(
        self,
        *,
        user_id: str,
        session: Session,
        scope: tuple[str, ...],
        now: datetime,
        ends: datetime,
    ) -> str:
        """
        A new token.
        """
        claims = {
            "iss": self.issuer,
            "aud": self.issuer,
            "sub": user_id,
            "client_id": session.client_id,
            "sid": session.id,
            "scope": " ".join(scope),
            "jti": secrets.token_urlsafe(16),
            "iat": int(now.timestamp()),
            "exp": int(ends.timestamp()),
        }
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return _JWS.encode(payload, self.key, _ALGORITHM, headers={"typ": _TYPE})

    def check(self, text: str, now: datetime) -> AccessToken | None:
        """
        What `text` says if it is an access token of ours that has not expired.
        """
        claims = self._claims(text) if text.isascii() else None
        if claims is None or claims["iss"] != self.issuer or claims["aud"] != self.issuer:
            return None
        if now.timestamp() >= claims["exp"]:
            return None
        return AccessToken(
            session_id=claims["sid"],
            user_id=claims["sub"],
            client_id=claims["client_id"],
            scope=tuple(claims["scope"].split()),
        )

    def _claims(self, text: str) -> dict[str, Any] | None:
        try:
            decoded = _JWS.decode_complete(text, self.key, [_ALGORITHM])
        except jwt.InvalidTokenError:
            return None
        if decoded["header"].get("typ") != _TYPE:
            return None
        # Only we have the key, so only we wrote the claims.
        claims: dict[str, Any] = json.loads(decoded["payload"])
        return claims
