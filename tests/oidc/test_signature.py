"""Signatures and claims of ID tokens, as pure functions."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import OKPAlgorithm

from tests.oidc.provider import FIRST_KEY, SECOND_KEY, SigningKey
from workerd_faas.domain.identity import LoginPolicy
from workerd_faas.domain.idtoken import (
    ClaimRefused,
    Expected,
    check_claims,
    identity_of,
)
from workerd_faas.oidc.signature import (
    ALGORITHMS,
    UnknownKey,
    check_access_token_hash,
    read_keys,
    verified_claims,
)

KEYS = read_keys({"keys": [FIRST_KEY.jwk, SECOND_KEY.jwk, SigningKey.ec("curve").jwk]})
EXPECTED = Expected(issuer="https://idp", client_id="us", nonce="n", now=1000.0)
GOOD = {"iss": "https://idp", "aud": "us", "sub": "s", "nonce": "n", "exp": 1300, "iat": 1000}


def encoded(part: object) -> str:
    """
    A part of a JWT.
    """
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_only_asymmetric_algorithms_are_on_the_list() -> None:
    """
    Neither `none` nor any HMAC is accepted, whatever the library can do.
    """
    assert not any(name.startswith("HS") or name.lower() == "none" for name in ALGORITHMS)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_all_rsa_algorithms_verify(algorithm: str) -> None:
    """
    A key without `alg` may be used with each.
    """
    jwk = {k: v for k, v in FIRST_KEY.jwk.items() if k != "alg"}
    key = SigningKey(id="first", algorithm=algorithm, private=FIRST_KEY.private)
    assert verified_claims(key.sign(GOOD), read_keys({"keys": [jwk]})) == (GOOD, algorithm)


def test_ed25519_verifies() -> None:
    """
    EdDSA with Ed25519 is accepted, and its at_hash, whose hash nobody fixed, is not looked at.
    """
    private = Ed25519PrivateKey.generate()
    jwk: Any = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    keys = read_keys({"keys": [{**jwk, "kid": "ed"}]})
    token = jwt.PyJWS().encode(json.dumps(GOOD).encode(), private, "EdDSA", headers={"kid": "ed"})
    claims, algorithm = verified_claims(token, keys)
    assert claims == GOOD
    check_access_token_hash({**claims, "at_hash": "?"}, algorithm, "at")


def test_a_published_private_key_is_used_as_a_public_one() -> None:
    """
    Private members of a JWK are ignored.
    """
    private: Any = jwt.algorithms.RSAAlgorithm.to_jwk(FIRST_KEY.private, as_dict=True)
    del private["key_ops"]
    assert "d" in private
    (key,) = read_keys({"keys": [{**private, "kid": "first"}]})
    assert not hasattr(key.key, "private_numbers")


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}])
def test_what_is_no_key_set_is_an_error(document: dict[str, Any]) -> None:
    """
    It is not an empty set.
    """
    with pytest.raises(ValueError, match="keys"):
        read_keys(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: JSON | st.sampled_from(["RSA", "EC", "OKP", "P-256", "sig", "AQAB", "RS256"])
            for name in ("kty", "n", "e", "crv", "x", "y", "use", "alg", "kid", "key_ops")
        },
    )
)
def test_no_jwk_makes_the_reader_stumble(jwk: dict[str, Any]) -> None:
    """
    Arbitrary JWKs are used or ignored.
    """
    assert len(read_keys({"keys": [jwk]})) <= 1


@given(st.text(max_size=300) | st.lists(st.text("ABab01-_=", max_size=20)).map(".".join))
def test_no_text_makes_the_verifier_stumble(token: str) -> None:
    """
    Arbitrary text is refused.
    """
    with pytest.raises((ClaimRefused, UnknownKey)):
        verified_claims(token, KEYS)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), JSON),
    JSON,
    st.binary(max_size=300),
)
def test_no_unsigned_token_passes(header: dict[str, Any], claims: Any, signature: bytes) -> None:
    """
    Whatever header and claims say, random bytes are no signature.
    """
    token = f"{encoded(header)}.{encoded(claims)}.{encoded(signature)}"
    with pytest.raises((ClaimRefused, UnknownKey)):
        verified_claims(token, KEYS)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_signed_token_cannot_be_changed(position: int, byte: int) -> None:
    """
    One changed character anywhere ends it.
    """
    token = SIGNED
    position %= len(token)
    changed = token[:position] + chr(byte) + token[position + 1 :]
    if changed != token:
        with pytest.raises((ClaimRefused, UnknownKey)):
            verified_claims(changed, KEYS)


SIGNED = FIRST_KEY.sign(GOOD)


@given(st.dictionaries(st.sampled_from([*GOOD, "nbf", "azp"]), JSON | st.floats()))
def test_no_claims_make_the_check_stumble(changes: dict[str, Any]) -> None:
    """
    Claims that differ from good ones are accepted only if they still say the same.
    """
    claims = {**GOOD, **changes}
    try:
        check_claims(claims, EXPECTED)
    except ClaimRefused:
        return
    assert claims["iss"] == "https://idp" and claims["nonce"] == "n"
    assert claims["aud"] in ("us", ["us"])
    assert isinstance(claims["sub"], str) and claims["sub"]
    assert claims["exp"] > 940 and claims["iat"] <= 1060


def test_the_name_is_something_that_the_person_knows() -> None:
    """
    Verified address, else user name, else name, else subject.
    """
    for claims, name in (
        ({"email": "A@b.example", "email_verified": True, "name": "N"}, "a@b.example"),
        ({"email": "a@b.example", "preferred_username": "ann", "name": "N"}, "ann"),
        ({"name": "N"}, "N"),
        ({"name": "  "}, "s"),
        ({"name": "a\nb"}, "s"),
        ({"name": 5}, "s"),
        ({}, "s"),
    ):
        assert identity_of("i", "s", claims, {}).name == name


@pytest.mark.parametrize("email", ["", "a", "@", "a@", "@b", "a@b@c", "a b@c", 5, None, ["a@b"]])
def test_an_address_that_is_none_is_not_taken(email: object) -> None:
    """
    Even if it is said to be verified.
    """
    claims = {"email": email, "email_verified": True}
    assert identity_of("i", "s", claims, {}).email is None


def test_an_address_is_never_cut_into_another_one() -> None:
    """
    An address that is too long is none: its beginning would be somebody else's, even in a domain
    that may log in.
    """
    local = "a" * 188
    for address in (f"{local}@example.com.evil.test", f"{local}@example.com" + ".x" * 60):
        claims = {"email": address, "email_verified": True}
        email = identity_of("i", "s", claims, {}).email
        assert email in (None, address)
        assert not LoginPolicy(frozenset({"@example.com"})).admits("s", email)
