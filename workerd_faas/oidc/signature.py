"""
Signatures of ID tokens (RFC 7515, 7517, 8725): keys of the provider's JWKS and algorithms of ours.

A token says which key and which algorithm it was signed with; that is believed only as a choice
among what we accept. Nothing else in its header is looked at, least of all `jwk`, `jku` or `x5u`.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import jwt
from jwt.algorithms import get_default_algorithms

from workerd_faas.domain.idtoken import ClaimRefused
from workerd_faas.wire.strict_json import RefusedJson, parse_json

_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS: Final = (*_RSA, *_CURVES)
"""Asymmetric ones only: never `none`, never HMAC (whose key could be a public one)."""

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 16384
MAX_KEYS: Final = 100
MAX_TOKEN: Final = 64 << 10
"""Bytes of an ID token."""

_JWS: Final = jwt.PyJWS(algorithms=ALGORITHMS)
_PUBLIC: Final = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
}


class UnknownKey(Exception):
    """
    No key of the set is the one that signed: perhaps the provider has a new one.
    """


@attrs.frozen(kw_only=True)
class Key:
    """
    A public key that may sign ID tokens.

    Attributes:
        algorithms: What it can be used with.
        key: As PyJWT takes it.
    """

    id: str | None
    algorithms: frozenset[str]
    key: Any = attrs.field(repr=False)


def read_keys(document: Mapping[str, Any]) -> tuple[Key, ...]:
    """
    The usable keys of a JWK set (RFC 7517 section 5: others are ignored).

    Raises:
        ValueError: it is no JWK set.
    """
    found = document.get("keys")
    if not isinstance(found, list):
        raise ValueError("keys is no list")
    keys = (_read_key(each) for each in found[:MAX_KEYS])
    return tuple(key for key in keys if key is not None)


def _read_key(jwk: Any) -> Key | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    algorithms = _algorithms_of(jwk)
    if not algorithms:
        return None
    members = {name: jwk.get(name) for name in _PUBLIC[jwk["kty"]]}
    try:
        # Only the public members: a published private key must not become one of ours.
        key = get_default_algorithms()[min(algorithms)].from_jwk(members)
    except (jwt.InvalidKeyError, ValueError, TypeError):
        return None
    if jwk["kty"] == "RSA" and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return None
    key_id = jwk.get("kid")
    return Key(id=key_id if isinstance(key_id, str) else None, algorithms=algorithms, key=key)


def _algorithms_of(jwk: Mapping[str, Any]) -> frozenset[str]:
    possible: Sequence[str] = ()
    if jwk.get("kty") == "RSA":
        possible = _RSA
    elif jwk.get("kty") in ("EC", "OKP"):
        kty_of = {name: "OKP" if name == "EdDSA" else "EC" for name in _CURVES}
        possible = [
            name
            for name, curve in _CURVES.items()
            if curve == jwk.get("crv") and kty_of[name] == jwk["kty"]
        ]
    stated = jwk.get("alg")
    return frozenset(name for name in possible if stated is None or stated == name)


def verified_claims(token: str, keys: Sequence[Key]) -> tuple[dict[str, Any], str]:
    """
    The claims of an ID token whose signature holds, and the algorithm.

    Raises:
        UnknownKey: the key that it names is not in the set.
        ClaimRefused: it is no signed JWT, or the signature does not hold.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise ClaimRefused("the ID token is too long or no JWT")
    try:
        header = _JWS.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise ClaimRefused("the ID token is no JWT") from None
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise ClaimRefused("the ID token's algorithm is not accepted")
    # RFC 8725 section 3.11: other kinds of JWT must not pass for this one.
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise ClaimRefused("the JWT is of another type")
    key = _choose(keys, algorithm, header.get("kid"))
    try:
        payload = _JWS.decode_complete(token, key.key, [algorithm])["payload"]
        claims = parse_json(payload, max_bytes=MAX_TOKEN)
    except jwt.InvalidTokenError:
        raise ClaimRefused("the ID token's signature does not hold") from None
    except RefusedJson:
        raise ClaimRefused("the ID token's claims are not JSON") from None
    if not isinstance(claims, dict):
        raise ClaimRefused("the ID token's claims are no object")
    return claims, algorithm


def _choose(keys: Sequence[Key], algorithm: str, key_id: object) -> Key:
    able = [key for key in keys if algorithm in key.algorithms]
    if key_id is not None:
        able = [key for key in able if key.id == key_id]
    # Without a `kid` there must be no choice (OpenID Connect Core section 10.1).
    if len(able) != 1:
        raise UnknownKey
    return able[0]


def check_access_token_hash(claims: Mapping[str, Any], algorithm: str, access_token: str) -> None:
    """
    Check `at_hash` if there is one (OpenID Connect Core section 3.1.3.6; optional in this flow).

    Raises:
        ClaimRefused: the ID token came with another access token.
    """
    stated = claims.get("at_hash")
    if stated is None or algorithm == "EdDSA":  # whose hash nobody has fixed
        return
    name = {"256": "sha256", "384": "sha384", "512": "sha512"}[algorithm[-3:]]
    hashed = hashlib.new(name, access_token.encode()).digest()
    half = base64.urlsafe_b64encode(hashed[: len(hashed) // 2]).rstrip(b"=")
    if not isinstance(stated, str) or not hmac.compare_digest(stated.encode(), half):
        raise ClaimRefused("at_hash is not the access token's")
