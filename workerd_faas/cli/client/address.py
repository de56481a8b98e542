"""The server's address as a user may type it, and what is derived from it. Pure."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from workerd_faas.cli.failure import Failure, usage

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_API_PREFIX: Final = "/client/v4"


def normalise_base_url(text: str) -> str:
    """
    `scheme://host[:port]` in lower case: the key of stored credentials.

    A path of the API (`/client/v4`) and a trailing slash are taken away, a missing scheme means
    `https`, or `http` for this machine.

    Raises:
        Failure: it is no address of a server.
    """
    text = text.strip()
    if "://" not in text:
        host = text.partition("/")[0].rpartition("@")[2]
        name = host if host.count(":") > 1 else host.partition(":")[0]
        text = ("http://" if is_loopback(name.strip("[]")) else "https://") + text
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
    except ValueError as error:
        # Python speaks of casts; and of what is before an @, it may quote a password.
        raise _refused(_without_password(text), _reason(error)) from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise _refused(text, "it must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise _refused(_without_password(text), "it must not have a user name or a password")
    if not host or not host.isascii() or any(c in host for c in " %_\\") or port == 0:
        raise _refused(text, "its host name or port is not valid")
    if parts.path.rstrip("/") not in ("", _API_PREFIX) or parts.query or parts.fragment:
        raise _refused(text, "it must not have a path: the server owns its whole host name")
    if ":" in host:
        host = f"[{host}]"
    shown_port = f":{port}" if port not in (None, _DEFAULT_PORTS[parts.scheme]) else ""
    return f"{parts.scheme}://{host}{shown_port}"


def _refused(text: str, reason: str) -> Failure:
    return usage(
        f"{text!r} is no usable server address: {reason}.",
        hint="give an address such as http://localhost:8080 or https://faas.example.com",
    )


def _without_password(text: str) -> str:
    scheme, separator, rest = text.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _reason(error: ValueError) -> str:
    return "its port is not a number up to 65535" if "ort " in str(error) else str(error)


def is_loopback(host: str) -> bool:
    """
    Whether the host is this machine by its name (RFC 6761 section 6.3) or address.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def resolvable(host: str) -> str:
    """
    What to look a host name up as: names below `localhost` are this machine (RFC 6761 section 6.3),
    which not every resolver knows.
    """
    return "localhost" if host.endswith(".localhost") else host


def is_plain_over_network(base_url: str) -> bool:
    """
    Whether tokens would cross a network without encryption.
    """
    parts = urlsplit(base_url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def same_origin(url: str, base_url: str) -> bool:
    """
    Whether both have the same scheme, host and port (RFC 6454 section 5).
    """
    try:
        parts, base = urlsplit(url), urlsplit(base_url)
        return (
            parts.scheme == base.scheme
            and parts.hostname == base.hostname
            and parts.username is None
            and (parts.port or _DEFAULT_PORTS.get(parts.scheme))
            == (base.port or _DEFAULT_PORTS.get(base.scheme))
        )
    except ValueError:
        return False


def function_url(base_url: str, name: str, selector: str | None = None) -> str:
    """
    Where a function (or one of its versions or aliases) answers.
    """
    scheme, _, authority = base_url.partition("://")
    labels = f"{selector}.{name}" if selector else name
    return f"{scheme}://{labels}.{authority}"
