"""
Readers of single values: text in, a checked value out, `ValueError` saying what would be right.

A message may quote the text only through `shown`, and the readers of secrets never do.
"""

import base64
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from workerd_faas.domain.limits import UploadLimits
from workerd_faas.domain.names import is_label

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d|)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RANGE: Final = re.compile(r"([0-9]{1,10})-([0-9]{1,10})")
_NO_UID: Final = (1 << 32) - 1
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(?: ?/ ?s)?")
LOWEST_RATE: Final = 0.001
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB|)")
_BYTES: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
LEAST_CELL_MEMORY: Final = 16 << 20
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

LONGEST_BASE_DOMAIN: Final = 253 - 2 * 64
"""So that `<alias>.<function>.<BASE_DOMAIN>` fits the 253 characters of a host name."""

SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2: a key for HS256 has at least the 256 bits of the hash."""

_PLACEHOLDER: Final = re.compile(
    r"change.?me|replace.?me|your.?secret|openssl rand|^\$[({]", re.IGNORECASE
)
"""Words of examples, and a command or variable that nobody ran: env files expand nothing."""


def shown(text: str) -> str:
    """
    `text` as an error message may quote it: bounded, and with control characters escaped.
    """
    return repr(text if len(text) <= 80 else text[:80] + "…")


def text(value: str) -> str:
    """
    Any text without control characters.
    """
    if not value.isprintable():
        raise ValueError("has a control character in it: use printable characters only")
    return value


def flag(value: str) -> bool:
    """
    `true`/`false`, in the spellings that people use.
    """
    lowered = value.lower()
    if lowered in ("true", "yes", "on", "1"):
        return True
    if lowered in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"{shown(value)} is neither true nor false: use one of the two")


def choice(*options: str) -> Callable[[str], str]:
    """
    A reader that takes one of `options`.
    """

    def read(value: str) -> str:
        if value not in options:
            raise ValueError(f"{shown(value)} is unknown: use {' or '.join(options)}")
        return value

    return read


def duration(value: str) -> float:
    """
    A positive time: seconds, or a number with `ms`, `s`, `m`, `h` or `d`. Result in seconds.
    """
    match = _DURATION.fullmatch(value)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds:
        raise ValueError(f"{shown(value)} is no duration: use, for example, 500ms, 30s, 5m or 2h")
    return seconds


def size(value: str) -> int:
    """
    A positive number of bytes, with `KiB`, `MiB` or `GiB` if wished.
    """
    match = _SIZE.fullmatch(value)
    octets = int(match[1]) * _BYTES[match[2]] if match else 0
    if not octets:
        raise ValueError(f"{shown(value)} is no size: use, for example, 512KiB, 256MiB or 1GiB")
    return octets


def cell_memory(value: str) -> int:
    """
    A size in which a function can do anything at all.
    """
    octets = size(value)
    if octets < LEAST_CELL_MEMORY:
        unit = " (a number alone is bytes)" if value.isdigit() else ""
        raise ValueError(f"{shown(value)} is too little for a function: use 16MiB or more{unit}")
    return octets


def rate(value: str) -> float:
    """
    A positive number a second.
    """
    match = _RATE.fullmatch(value)
    number = float(match[1]) if match else 0.0
    if number < LOWEST_RATE:
        raise ValueError(f"{shown(value)} is no rate: use a number a second, for example 50 or 0.5")
    return number


def or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """
    A reader that takes the word `none` too.
    """

    def read_or_none(value: str) -> Any:
        return None if value == "none" else read(value)

    return read_or_none


def code_size(value: str) -> int:
    """
    A size that the worker loader still takes.
    """
    octets = size(value)
    if octets > UploadLimits().code:
        raise ValueError(f"{shown(value)} is more than workerd can load: use at most 64MiB")
    return octets


def count(value: str) -> int:
    """
    A whole number from 1 on.
    """
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value)):
        raise ValueError(f"{shown(value)} is no number of things: use a whole number from 1 on")
    return int(value)


def path(value: str) -> Path:
    """
    An absolute path; a relative one is below the directory that the program was started in.
    """
    if "\0" in value:
        raise ValueError("has a NUL character in it: use a path of a file or directory")
    return Path(os.path.abspath(Path(value).expanduser()))  # noqa: PTH100 — keeps symbolic links


def program(value: str) -> Path:
    """
    The path of an executable file.
    """
    found = path(value)
    if not found.is_file():
        raise ValueError(f"there is no file {shown(str(found))}: give the path of the program")
    if not os.access(found, os.X_OK):
        raise ValueError(f"{shown(str(found))} may not be executed: chmod +x it")
    return found


def domain(value: str) -> str:
    """
    A DNS name below which functions get names of their own, in lower case, without a final dot.
    """
    name = value.lower().removesuffix(".")
    if "/" in name or ":" in name:
        raise ValueError(
            f"{shown(value)} is no host name: give the name alone, without scheme, port or path"
        )
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        raise ValueError(
            f"{shown(value)} is an address, below which there are no names: give a DNS name"
        )
    if len(name) > LONGEST_BASE_DOMAIN:
        raise ValueError(
            f"has {len(name)} characters: use at most {LONGEST_BASE_DOMAIN}, "
            "so that function and alias fit before it"
        )
    if not all(is_label(label) or _is_encoded_label(label) for label in name.split(".")):
        raise ValueError(
            f"{shown(value)} is no DNS name: use labels of a-z, 0-9 and '-' with dots between "
            "(an international name in its xn-- form)"
        )
    return name


def _is_encoded_label(label: str) -> bool:
    return label.startswith("xn--") and is_label(label[4:])


def networks(value: str) -> tuple[Network, ...]:
    """
    CIDR blocks and single addresses, separated by commas or spaces.
    """
    found: list[Network] = []
    for word in value.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            raise ValueError(
                f"{shown(word)} is no address block: use, for example, 10.0.5.0/24, "
                "2001:db8::/32 or 10.0.5.7 (no bits set behind the prefix)"
            ) from None
    return tuple(found)


def users(value: str) -> tuple[int, int] | None:
    """
    `FIRST-LAST`, a range of at least 16 user ids; twice the same: `none`; None: `auto`.
    """
    if value in ("auto", "none"):
        return None if value == "auto" else (0, 0)
    match = _RANGE.fullmatch(value)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < first <= last - 15 or last >= _NO_UID:
        raise ValueError(
            f"{shown(value)} is no range of user ids: use, for example, 200000-265535 "
            "(16 or more, and twice MAX_CELLS), auto or none"
        )
    return first, last


def addresses(value: str) -> tuple[Address, ...]:
    """
    Single addresses, separated by commas or spaces.
    """
    found: list[Address] = []
    for word in value.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_address(word))
        except ValueError:
            raise ValueError(
                f"{shown(word)} is no address: use, for example, 198.51.100.7 or 2001:db8::7"
            ) from None
    return tuple(found)


def is_loopback_host(host: str) -> bool:
    """
    Whether a host of a URL can only be this machine (RFC 6761 section 6.3 for names).
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url(value: str) -> str:
    """
    An absolute https URL without credentials and fragment; http for this machine only.
    """
    scheme, host = _split_url(value)
    if scheme == "http" and not is_loopback_host(host):
        raise ValueError(
            f"{shown(value)} would send secrets in the clear: use https "
            "(http is for localhost, 127.0.0.1 and [::1] only)"
        )
    return value


def issuer(value: str) -> str:
    """
    A URL that may be an OpenID issuer: no query either (OpenID Connect Core section 2).
    """
    if urlsplit(url(value)).query:
        raise ValueError(f"{shown(value)} has a query: an issuer has none")
    return value


def origin(value: str) -> str:
    """
    `scheme://host[:port]`, without a final slash.
    """
    _split_url(value)
    parts = urlsplit(value)
    if parts.path not in ("", "/") or parts.query:
        raise ValueError(
            f"{shown(value)} has a path or query: give scheme, host and port alone, "
            "such as https://example.com"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def any_url(value: str) -> str:
    """
    An absolute http or https URL without credentials and fragment.
    """
    _split_url(value)
    return value


def _split_url(value: str) -> tuple[str, str]:
    wrong = ValueError("is no absolute URL: use, for example, https://login.example.com/path")
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise wrong
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        if parts.port == 0:
            raise wrong
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host:
        raise wrong
    if "@" in parts.netloc:
        raise ValueError("has a user name or password in it: leave them out")
    if "#" in value:
        raise ValueError(f"{shown(value)} has a fragment: leave out the '#' and what follows it")
    return parts.scheme, host


def signing_secret(value: str) -> str:
    """
    Text that nobody can guess. It is never quoted.
    """
    advice = "make one with: openssl rand -base64 48"
    try:
        octets = value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"is not UTF-8 text: {advice}") from None
    if _PLACEHOLDER.search(value):
        raise ValueError(f"is a placeholder that everybody knows: {advice}")
    if len(octets) < SECRET_BYTES:
        raise ValueError(f"is shorter than {SECRET_BYTES} bytes: {advice}")
    if len(set(value)) < 8:
        raise ValueError(f"repeats a few characters and can be guessed: {advice}")
    return value


def secrets_keys(value: str) -> tuple[str, ...]:
    """
    Keys for secrets, separated by commas or white space, each the base64 of 32 bytes, in either
    alphabet. Given back in the alphabet of URLs. They are never quoted.
    """
    keys = []
    for word in value.replace(",", " ").split():
        key = word.translate(str.maketrans("+/", "-_"))
        try:
            octets = base64.b64decode(key, altchars=b"-_", validate=True)
        except ValueError:
            octets = b""
        if len(octets) != SECRET_BYTES or len(set(octets)) < 8:
            raise ValueError(
                "has a key that is not the base64 of 32 random bytes: make one with: "
                "openssl rand -base64 32"
            )
        keys.append(key)
    return tuple(keys)


def given_secret(value: str) -> str:
    """
    A secret that somebody else made, so that only a placeholder can be told from it.
    """
    if _PLACEHOLDER.search(value):
        raise ValueError("is a placeholder: give the secret that the identity provider made")
    return value


def login_rules(value: str) -> tuple[str, ...]:
    """
    Who may log in: verified e-mail addresses, `@domain` for all of a domain, `sub:…` for one
    subject of the provider; separated by commas or spaces. Addresses in lower case.
    """
    rules = []
    for word in value.replace(",", " ").split():
        if word.startswith("sub:") and len(word) > 4:
            rules.append(word)
            continue
        address = word.lower()
        if not _EMAIL.fullmatch(f"anyone{address}" if address.startswith("@") else address):
            raise ValueError(
                f"{shown(word)} is no rule: use alice@example.com, @example.com or sub:SUBJECT"
            )
        rules.append(address)
    return tuple(rules)
