"""One secret of the operator's, one key for each purpose (RFC 5869), and sealed text."""

import base64
import os
from typing import Final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE: Final = 12


def derive_key(secret: bytes, purpose: str) -> bytes:
    """
    A 256-bit key that is of no use for any other purpose.
    """
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)


@attrs.frozen(kw_only=True)
class Keys:
    """
    The keys of identity.

    Attributes:
        access_token: Signs access tokens.
        succession: Makes a refresh token's successor of it.
        login: Seals what a login remembers between its two redirects.
    """

    access_token: bytes = attrs.field(repr=False)
    succession: bytes = attrs.field(repr=False)
    login: bytes = attrs.field(repr=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> "Keys":
        """
        Derive them from `JWT_SECRET`.
        """
        return cls(
            access_token=derive_key(secret, "workerd-faas access token"),
            succession=derive_key(secret, "workerd-faas refresh token succession"),
            login=derive_key(secret, "workerd-faas login"),
        )


def seal(key: bytes, plain: bytes) -> str:
    """
    Encrypt and authenticate (AES-256-GCM); text that is fit for a URL.
    """
    nonce = os.urandom(_NONCE)
    sealed = nonce + AESGCM(key).encrypt(nonce, plain, None)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(key: bytes, text: str) -> bytes | None:
    """
    The inverse of `seal`; None for anything that `seal` did not make with this key.
    """
    if not text.isascii():
        return None
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
    except (ValueError, InvalidTag):
        return None
