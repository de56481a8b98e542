"""Stored configurations of databases, as `wrangler hyperdrive` makes them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import attrs

from workerd_faas.domain.errors import Kind, Problem

SCHEMES: Final[Mapping[str, str]] = {
    "postgres": "postgres",
    "postgresql": "postgres",
    "mysql": "mysql",
}
"""What clients call the two kinds of databases, and what we call them."""

DEFAULT_PORTS: Final[Mapping[str, int]] = {"postgres": 5432, "mysql": 3306}

_HOST: Final = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?|\[?[0-9A-Fa-f:.]{2,45}\]?"
)
_TEXTS: Final = ("host", "database", "user", "password")


@attrs.frozen(kw_only=True)
class Origin:
    """
    Where a database is and how to log in.

    Attributes:
        host: A host name or an address, without brackets.
    """

    scheme: str
    host: str
    port: int
    database: str
    user: str
    password: str = attrs.field(repr=False)

    @property
    def connection_string(self) -> str:
        """
        Everything in one URL.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, password, database = (
            quote(text, safe="") for text in (self.user, self.password, self.database)
        )
        return f"{self.scheme}://{user}:{password}@{host}:{self.port}/{database}"

    @property
    def environment(self) -> Mapping[str, Any]:
        """
        What a function finds in its binding.
        """
        return {
            "connectionString": self.connection_string,
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }


@attrs.frozen(kw_only=True)
class Configuration:
    """
    One stored configuration.

    Attributes:
        id: 32 hex digits.
        settings: What is kept for clients and has no effect here: caching, connection limit.
    """

    id: str
    account_id: str
    name: str
    origin: Origin
    settings: Mapping[str, Any]
    created_at: datetime
    modified_at: datetime


@attrs.frozen(kw_only=True)
class Wish:
    """
    What a client asks for, whole or (in an update) in part.

    Attributes:
        origin: Only the fields that were sent.
    """

    name: str | None
    origin: Mapping[str, Any]
    settings: Mapping[str, Any]

    def complete(self, before: Origin | None) -> Origin:
        """
        The whole origin, with what was not sent as it was before.

        Raises:
            Problem: `BAD_REQUEST`, naming what is missing.
        """
        known = {} if before is None else attrs.asdict(before)
        merged = {**known, **self.origin}
        if "scheme" in merged:
            merged.setdefault("port", DEFAULT_PORTS[merged["scheme"]])
        missing = [key for key in ("scheme", *_TEXTS) if key not in merged]
        if missing:
            raise _wrong(f"needs origin.{missing[0]}")
        return Origin(**merged)


def read_wish(document: Mapping[str, Any]) -> Wish:
    """
    Check what a client sent.

    Raises:
        Problem: `BAD_REQUEST` or `UNSUPPORTED`, naming the field; never with its value.
    """
    name = document.get("name")
    if name is not None and (
        not isinstance(name, str) or not 1 <= len(name) <= 63 or not name.isprintable()
    ):
        raise _wrong("needs 'name' as 1 to 63 printable characters")
    mtls = document.get("mtls")
    if mtls and isinstance(mtls, dict) and mtls.keys() == {"sslmode"}:
        raise Problem(
            kind=Kind.UNSUPPORTED,
            message="'sslmode' of Hyperdrive is not supported: functions connect to the database "
            "themselves, so it is for their driver to choose TLS.",
        )
    if mtls:
        raise _unsupported("'mtls' (certificates)")
    settings: dict[str, Any] = {}
    caching = document.get("caching")
    if caching is not None:
        if not isinstance(caching, dict):
            raise _wrong("needs 'caching' as an object")
        settings["caching"] = caching
    limit = document.get("origin_connection_limit")
    if limit is not None:
        settings["origin_connection_limit"] = _whole("origin_connection_limit", limit, 1_000_000)
    return Wish(name=name, origin=_origin(document.get("origin")), settings=settings)


def _origin(sent: Any) -> Mapping[str, Any]:
    if sent is None:
        return {}
    if not isinstance(sent, dict):
        raise _wrong("needs 'origin' as an object")
    for key in ("service_id", "access_client_id", "access_client_secret"):
        if sent.get(key):
            raise _unsupported(f"origin.{key}")
    found: dict[str, Any] = {}
    for key in _TEXTS:
        text = sent.get(key)
        if text is None:
            continue
        if not isinstance(text, str) or not 1 <= len(text) <= 1024 or "\0" in text:
            raise _wrong(f"needs origin.{key} as a string of 1 to 1024 characters")
        found[key] = text
    if "host" in found:
        if not _HOST.fullmatch(found["host"]):
            raise _wrong("needs origin.host as a host name or an address")
        found["host"] = found["host"].strip("[]")
    if sent.get("port") is not None:
        found["port"] = _whole("origin.port", sent["port"], 65535)
    scheme = sent.get("scheme")
    if scheme is not None:
        if not isinstance(scheme, str) or scheme not in SCHEMES:
            raise _wrong("needs origin.scheme as postgres, postgresql or mysql")
        found["scheme"] = SCHEMES[scheme]
    return found


def _whole(key: str, value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _wrong(f"needs {key} as a whole number from 1 to {most}")
    return value


def _wrong(what: str) -> Problem:
    return Problem(kind=Kind.BAD_REQUEST, message=f"A Hyperdrive configuration {what}.")


def _unsupported(what: str) -> Problem:
    return Problem(kind=Kind.UNSUPPORTED, message=f"{what} of Hyperdrive is not supported yet.")
