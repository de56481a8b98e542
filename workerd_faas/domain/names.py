"""
Names that become parts of host names.

A function name and an alias are DNS labels (RFC 1035 section 2.3.1 with the leading digit of
RFC 1123 section 2.1), lower case, so that what was uploaded is what the host header says.
"""

import re
from typing import Final

from workerd_faas.domain.errors import Kind, Problem

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

RESERVED_FUNCTIONS: Final = frozenset(
    {
        "account", "accounts", "admin", "api", "app", "auth", "autoconfig", "autodiscover",
        "dashboard", "dash", "docs", "health", "internal", "isatap", "local", "localhost", "login",
        "logout", "mail", "mta-sts", "oauth", "oauth2", "openid", "platform", "root", "sso",
        "static", "status", "system", "token", "workerd", "wpad", "wrangler", "wrkst", "www",
    }
)  # fmt: skip
"""Hosts that browsers, mail programs or people would take for the platform itself."""

RESERVED_ALIASES: Final = frozenset({"latest"})
"""`latest` is what the deployment serves; it can be asked for but not set."""

_PREFIX: Final = re.compile(r"[0-9a-f][0-9a-f-]{7,35}")

LABEL_RULE: Final = (
    "use 1 to 63 characters of a-z, 0-9 and '-', with no '-' at the beginning or end"
)


def is_label(text: str) -> bool:
    """
    Whether `text` is a lower-case DNS label.
    """
    return _LABEL.fullmatch(text) is not None and not text.startswith("xn--")


def is_version_prefix(text: str) -> bool:
    """
    Whether a host label may be asked for as the beginning of a version id: hex digits and
    dashes, at least 8 characters, so that ids cannot be guessed one character at a time.
    """
    return _PREFIX.fullmatch(text) is not None


def check_function_name(name: str) -> str:
    """
    Return `name` if a function may be called so.

    Raises:
        Problem: `INVALID_NAME`, saying what is wrong.
    """
    if not is_label(name):
        raise Problem(
            kind=Kind.INVALID_NAME,
            message=f"{_shown(name)} is not a valid Worker name: {LABEL_RULE}.",
        )
    if name in RESERVED_FUNCTIONS:
        raise Problem(
            kind=Kind.INVALID_NAME,
            message=f"The name {name!r} is reserved for the platform: choose another one.",
        )
    return name


def check_alias(alias: str) -> str:
    """
    Return `alias` if a version may be called so.

    Raises:
        Problem: `INVALID_NAME`, saying what is wrong.
    """
    if not is_label(alias):
        raise Problem(
            kind=Kind.INVALID_NAME,
            message=f"{_shown(alias)} is not a valid alias: {LABEL_RULE}.",
        )
    if alias in RESERVED_ALIASES:
        raise Problem(
            kind=Kind.INVALID_NAME,
            message=f"The alias {alias!r} follows the deployment by itself and cannot be set.",
        )
    return alias


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:80] + "…")
