"""
Opaque credentials as text: `<prefix>_<43 characters of 256 bits><6 characters of checksum>`.

The prefix tells people and secret scanners what leaked; the checksum (CRC-32, as GitHub's tokens
have it) tells a mistyped token from a revoked one without a look at the database. Neither is
secret. Only the SHA-256 of the whole text is stored: 256 random bits need no slow hash.
"""

import enum
import hashlib
import re
import zlib
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TEXT: Final = re.compile(r"([a-z]{3})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")

ENTROPY_BYTES: Final = 32


class CredentialKind(enum.Enum):
    """
    The kinds of opaque credentials; the value is the prefix.
    """

    API = "wft"
    REFRESH = "wfr"
    CODE = "wfc"
    DEVICE = "wfd"


def write_credential(kind: CredentialKind, entropy: bytes) -> str:
    """
    The text of a credential.

    Args:
        kind: What it is for.
        entropy: `ENTROPY_BYTES` bytes that nobody can guess.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a credential takes {ENTROPY_BYTES} bytes of entropy")
    body = _base62(int.from_bytes(entropy, "big"), 43)
    return f"{kind.value}_{body}{_checksum(kind, body)}"


def is_credential(text: str, kind: CredentialKind) -> bool:
    """
    Whether `text` is a well-formed credential of this kind; not whether it is valid.
    """
    match = _TEXT.fullmatch(text)
    return match is not None and match[1] == kind.value and match[3] == _checksum(kind, match[2])


def digest(credential: str) -> str:
    """
    What is stored in a credential's place (64 hex digits).
    """
    return hashlib.sha256(credential.encode("utf-8", "surrogateescape")).hexdigest()


def _checksum(kind: CredentialKind, body: str) -> str:
    return _base62(zlib.crc32(f"{kind.value}_{body}".encode()), 6)


def _base62(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, remainder = divmod(number, 62)
        characters.append(_ALPHABET[remainder])
    return "".join(reversed(characters))
