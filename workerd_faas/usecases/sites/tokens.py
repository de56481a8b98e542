"""
Tokens of an upload session: JWTs signed by us for us (HS256), good for one function of one account
and one manifest, and for an hour.

Two kinds: the session's lets its holder upload the files that the manifest names, and nothing else;
the completion token stands for the manifest in the metadata of an upload. Wrangler looks at the
payload of the first.
"""

import json
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
import jwt

from workerd_faas.domain.errors import Kind, Problem

LIFETIME: Final = timedelta(hours=1)
SESSION: Final = "assets-session+jwt"
COMPLETION: Final = "assets-completion+jwt"

_ALGORITHM: Final = "HS256"
_JWS: Final = jwt.PyJWS(algorithms=[_ALGORITHM])


@attrs.frozen(kw_only=True)
class Scope:
    """
    What a token is good for. `manifest` is the SHA-256 under which it is kept.
    """

    account_id: str
    function: str
    manifest: str


@attrs.frozen
class SessionTokens:
    """
    Makes and checks them.

    Attributes:
        key: For nothing else.
    """

    key: bytes = attrs.field(repr=False)

    def make(self, kind: str, scope: Scope, now: datetime, *, single_files: bool = False) -> str:
        """
        A new token.

        Args:
            kind: `SESSION` or `COMPLETION`.
            single_files: Whether Wrangler shall send each file by itself.
        """
        claims: dict[str, Any] = {
            "account": scope.account_id,
            "function": scope.function,
            "manifest": scope.manifest,
            "jti": secrets.token_hex(8),  # No two sessions are one.
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
        }
        if single_files:
            claims["wrangler_single_asset_uploads"] = True
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return _JWS.encode(payload, self.key, _ALGORITHM, headers={"typ": kind})

    def check(self, kind: str, text: str, now: datetime) -> Scope | None:
        """
        What `text` is good for if it is a token of this kind that has not expired.
        """
        if not text.isascii():
            return None
        try:
            decoded = _JWS.decode_complete(text, self.key, [_ALGORITHM])
        except jwt.InvalidTokenError:
            return None
        if decoded["header"].get("typ") != kind:
            return None
        # Only we have the key, so only we wrote the claims.
        claims = json.loads(decoded["payload"])
        if now.timestamp() >= claims["exp"]:
            return None
        return Scope(
            account_id=claims["account"], function=claims["function"], manifest=claims["manifest"]
        )


def token_invalid() -> Problem:
    """
    The answer to a token that is not, or no longer, good for this.
    """
    return Problem(
        kind=Kind.ASSETS_TOKEN_INVALID,
        message="The assets upload session is not valid or has expired: deploy again.",
    )
