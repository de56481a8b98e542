"""
What the claims of an ID token must say (OpenID Connect Core section 3.1.3.7, RFC 8725).

The signature is `oidc.signature`'s business; here only claims that have one are looked at.
"""

import hmac
import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

SKEW: Final = 60
"""Seconds that the provider's clock and ours may differ."""

_LONGEST_SUBJECT: Final = 255
_LONGEST_EMAIL: Final = 254
"""RFC 5321 section 4.5.3.1.3, without the angle brackets."""


@attrs.define(auto_exc=True)
class ClaimRefused(Exception):
    """
    A claim is missing or wrong; the message says which, without its value.
    """

    message: str


@attrs.frozen(kw_only=True)
class Expected:
    """
    What a good ID token of this login says.

    Attributes:
        now: Seconds since the epoch.
    """

    issuer: str
    client_id: str
    nonce: str
    now: float


@attrs.frozen(kw_only=True)
class Identity:
    """
    Who logged in. `issuer` and `subject` are the identity; the rest is for display.

    Attributes:
        email: Lower case; None unless the provider says that it is verified.
        name: Something that the person would recognise.
    """

    issuer: str
    subject: str
    email: str | None
    name: str


def check_claims(claims: Mapping[str, Any], expected: Expected) -> str:
    """
    Check everything that a login depends on; return the subject.

    Raises:
        ClaimRefused: naming the claim.
    """
    _check_equal(claims, "iss", expected.issuer)
    _check_audience(claims, expected.client_id)
    _check_times(claims, expected.now)
    _check_equal(claims, "nonce", expected.nonce)
    return subject_of(claims)


def subject_of(claims: Mapping[str, Any]) -> str:
    """
    The subject (OpenID Connect Core section 2: at most 255 ASCII characters, not empty).

    Raises:
        ClaimRefused: there is none.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.strip():
        raise ClaimRefused("sub is missing or empty")
    if len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
        raise ClaimRefused("sub is no subject identifier")
    return subject


def _check_equal(claims: Mapping[str, Any], name: str, value: str) -> None:
    found = claims.get(name)
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), value.encode()):
        raise ClaimRefused(f"{name} is not what it must be")


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    audience = claims.get("aud")
    # A second audience could use the token against us, so a stranger is not accepted.
    if audience not in (client_id, [client_id]):
        raise ClaimRefused("aud is not us alone")
    if "azp" in claims and claims["azp"] != client_id:
        raise ClaimRefused("azp is not us")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    if now >= _time(claims, "exp") + SKEW:
        raise ClaimRefused("exp has passed")
    if _time(claims, "iat") > now + SKEW:
        raise ClaimRefused("iat is in the future")
    if "nbf" in claims and _time(claims, "nbf") > now + SKEW:
        raise ClaimRefused("nbf is in the future")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    # JSON numbers may be as large as one likes: what float() cannot hold is no time.
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**53:
        raise ClaimRefused(f"{name} is missing or no time")
    if not math.isfinite(value):
        raise ClaimRefused(f"{name} is missing or no time")
    return value


def identity_of(
    issuer: str, subject: str, claims: Mapping[str, Any], userinfo: Mapping[str, Any]
) -> Identity:
    """
    Who it is, from the checked claims and what the userinfo endpoint said.

    Raises:
        ClaimRefused: userinfo speaks of somebody else (OpenID Connect Core section 5.3.2).
    """
    if userinfo and subject_of(userinfo) != subject:
        raise ClaimRefused("sub of userinfo is another one")
    email = _verified_email(userinfo) or _verified_email(claims)
    name = (
        email
        or _text(userinfo, "preferred_username")
        or _text(claims, "preferred_username")
        or _text(userinfo, "name")
        or _text(claims, "name")
        or subject
    )
    return Identity(issuer=issuer, subject=subject, email=email, name=name)


def _verified_email(document: Mapping[str, Any]) -> str | None:
    # Both must come from one document: one must not vouch for the other's address.
    if document.get("email_verified") is not True:
        return None
    # Whole or not at all: the beginning of an address is another address, and may be admitted.
    if len(str(document.get("email", ""))) > _LONGEST_EMAIL:
        return None
    email = _text(document, "email", _LONGEST_EMAIL)
    if email is None or email.count("@") != 1 or " " in email:
        return None
    local, domain = email.split("@")
    return email.lower() if local and domain else None


def _text(document: Mapping[str, Any], name: str, longest: int = 200) -> str | None:
    value = document.get(name)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        return None
    return value.strip()[:longest]
