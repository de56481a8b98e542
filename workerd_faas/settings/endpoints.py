"""
The syntax of Twisted's server endpoint strings, as far as it can be checked before listening.

The strings themselves are given to Twisted unchanged.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final

import attrs

from workerd_faas.settings.values import shown

_KNOWN: Final[Mapping[str, tuple[tuple[str, ...], frozenset[str]]]] = {
    # kind: (positional arguments in order, the other arguments)
    "tcp": (("port", "interface", "backlog"), frozenset()),
    "tcp6": (("port", "backlog", "interface"), frozenset()),
    "ssl": (
        ("port",),
        frozenset({"privateKey", "certKey", "extraCertChain", "interface", "backlog"}),
    ),
    "unix": (("address",), frozenset({"mode", "backlog", "lockfile"})),
    "systemd": ((), frozenset({"domain", "index", "name"})),
}

_FILES: Final = frozenset({"privateKey", "certKey", "extraCertChain"})


@attrs.frozen(kw_only=True)
class Endpoint:
    """
    One endpoint string, taken apart.
    """

    text: str
    kind: str
    arguments: Mapping[str, str]

    @property
    def port(self) -> int | None:
        """
        The TCP port, if the string names one.
        """
        return int(self.arguments["port"]) if "port" in self.arguments else None

    @property
    def tls(self) -> bool:
        """
        Whether clients speak TLS to it.
        """
        return self.kind == "ssl"

    @property
    def files(self) -> Mapping[str, str]:
        """
        The files that must be there to listen, by the names of their arguments.
        """
        return {name: path for name, path in self.arguments.items() if name in _FILES}

    @property
    def loopback(self) -> bool:
        """
        Whether only this machine can reach it for certain.
        """
        if self.kind == "unix":
            return True
        try:
            return ipaddress.ip_address(self.arguments.get("interface", "")).is_loopback
        except ValueError:
            return False


def endpoints(value: str) -> tuple[Endpoint, ...]:
    """
    One or several endpoint strings, separated by spaces or line ends.

    Raises:
        ValueError: saying which string is wrong and what would be right.
    """
    return tuple(parse(word) for word in value.split())


def parse(text: str) -> Endpoint:
    """
    Take one endpoint string apart.

    Raises:
        ValueError: as `endpoints`.
    """
    kind, *rest = _fields(text)
    if kind not in _KNOWN:
        raise ValueError(
            f"{shown(text)} begins with no kind of endpoint that we know: use, for example, "
            "tcp:8080:interface=127.0.0.1, ssl:443:privateKey=key.pem:certKey=cert.pem, "
            "unix:/run/faas.sock or systemd:domain=INET:index=0"
        )
    positional, named = _KNOWN[kind]
    arguments: dict[str, str] = {}
    for position, field in enumerate(rest):
        name, equals, content = field.partition("=")
        if not equals:
            if position >= len(positional):
                raise ValueError(f"{shown(text)} has too many parts: {shown(field)}")
            name, content = positional[position], field
        content = content.replace("\0", ":")
        if name not in named and name not in positional:
            allowed = ", ".join(sorted({*positional, *named}))
            raise ValueError(f"{shown(text)} says {shown(name)}: {kind} takes {allowed}")
        if arguments.setdefault(name, content) != content or not content:
            raise ValueError(f"{shown(text)} says {name} twice or without a value")
    _check(text, kind, arguments)
    return Endpoint(text=text, kind=kind, arguments=arguments)


def _fields(text: str) -> list[str]:
    """
    Split at colons; an escaped one (`\\:`) stands as NUL until its field has been read.
    """
    if "\0" in text:
        raise ValueError("has a NUL character in it")
    return text.replace("\\:", "\0").split(":")


def _check(text: str, kind: str, arguments: Mapping[str, str]) -> None:
    if kind in ("tcp", "tcp6", "ssl"):
        port = arguments.get("port", "")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{shown(text)} names no port: use {kind}:8080 (1 to 65535)")
    if kind == "ssl" and "privateKey" not in arguments:
        raise ValueError(f"{shown(text)} names no key: add privateKey=FILE and certKey=FILE (PEM)")
    if kind == "unix" and "address" not in arguments:
        raise ValueError(f"{shown(text)} names no path: use unix:/path/of/socket")
    if kind == "systemd" and not ("domain" in arguments and arguments.keys() & {"index", "name"}):
        raise ValueError(
            f"{shown(text)} names no socket: use systemd:domain=INET:index=0 "
            "(or INET6, UNIX; or name=…)"
        )
    interface = arguments.get("interface")
    if interface is not None:
        try:
            ipaddress.ip_address(interface)
        except ValueError:
            raise ValueError(
                f"{shown(text)} names no interface address: use, for example, "
                r"interface=127.0.0.1 or interface=\:\:1"
            ) from None
