"""
Who the client is: what we know about it, and what a trusted proxy says about it. Pure.
"""

import ipaddress
import json
from collections.abc import Sequence
from typing import Final, TypeAlias

import attrs

from workerd_faas.wire.headers import PROTO

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SCHEMES: Final = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
"""By `X-Forwarded-Proto`: some proxies say so that the client opens a WebSocket."""

MAX_HOPS: Final = 32
"""Members of `X-Forwarded-For` that are looked at."""


@attrs.frozen(kw_only=True)
class Peer:
    """
    One end of a client's connection.

    Attributes:
        address: Its IP address; None on a unix socket.
        tls: The protocol version and the cipher, if it speaks TLS.
        trusted: It is one of our proxies, whose `X-Forwarded-*` are believed.
    """

    address: Address | None
    tls: tuple[str, str] | None = None
    trusted: bool = False


@attrs.frozen(kw_only=True, eq=False)
class Client:
    """
    Who sends a request, ready to be passed on.

    Attributes:
        key: What to count it under (an IPv6 client by its /64, which is one household).
        name: What the log calls it: its address, or a dash.
        lines: The header lines that say who it is.
        cf: The members of `request.cf` that do.
    """

    key: str
    name: str
    lines: bytes
    cf: bytes


def parse_address(text: str) -> Address | None:
    """
    An address as sockets and proxies write it: a zone, a port and brackets are dropped, and an
    IPv4 address in IPv6 clothes comes out as what it is.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_trusted(address: Address | None, proxies: Sequence[Network]) -> bool:
    """
    Whether one of our proxies has this address.
    """
    return address is not None and any(
        address.version == network.version and address in network for network in proxies
    )


def direct_client(peer: Peer) -> Client:
    """
    The peer is the client.
    """
    known = () if peer.address is None else (str(peer.address),)
    return _client(peer, peer.address, known, "http" if peer.tls is None else "https")


def forwarded_client(
    peer: Peer,
    forwarded_for: bytes | None,
    forwarded_proto: bytes | None,
    proxies: Sequence[Network],
) -> Client:
    """
    The peer is a proxy of ours: the client is the rightmost address that is not a proxy's.
    """
    chain = [] if peer.address is None else [peer.address]
    for item in reversed((forwarded_for or b"").split(b",")[-MAX_HOPS:]):
        if chain and not is_trusted(chain[-1], proxies):
            break
        address = parse_address(item.decode("latin-1"))
        if address is None:
            break
        chain.append(address)
    scheme = _SCHEMES.get((forwarded_proto or b"").lower())
    if scheme is None:
        scheme = "http" if peer.tls is None else "https"
    client = chain[-1] if chain else None
    return _client(peer, client, [str(address) for address in reversed(chain)], scheme)


def _client(peer: Peer, address: Address | None, chain: Sequence[str], scheme: str) -> Client:
    lines = [
        f"{PROTO}: {scheme}",
        f"x-forwarded-proto: {scheme}",
        f'cf-visitor: {{"scheme":"{scheme}"}}',
    ]
    cf: dict[str, str] = {"colo": "SELF", "requestPriority": ""}
    if address is not None:
        lines += [
            f"cf-connecting-ip: {address}",
            f"x-real-ip: {address}",
            f"x-forwarded-for: {', '.join(chain)}",
        ]
        cf["clientIp"] = str(address)
    if peer.tls is not None:
        cf["tlsVersion"], cf["tlsCipher"] = peer.tls
    return Client(
        key=_key(address),
        name="-" if address is None else str(address),
        lines="".join(line + "\r\n" for line in lines).encode("ascii"),
        cf=json.dumps(cf, separators=(",", ":"))[1:-1].encode(),
    )


def _key(address: Address | None) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)
