"""
What functions may reach: public addresses, and what the operator names.

workerd's `network` service lets an address through when an entry of `allow` matches it, unless a
more specific entry of `deny` does. It judges addresses after name resolution, for `fetch()` and
`connect()` alike. Unix sockets need a rule of their own (`unix`), which is never given.
"""

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        # Denied by workerd's own `public` too; named, so that this list is whole by itself.
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        "::1/128", "fc00::/7", "fe80::/10", "ff00::/8",
        # Not denied by `public`: this network, documentation, benchmarking, 6to4 relays,
        "0.0.0.0/8", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24",
        # and IPv6 ways to write or tunnel IPv4 addresses: NAT64, 6to4, Teredo, compatible.
        "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96",
        "100::/64", "2001:db8::/32", "fec0::/10",
    )
)  # fmt: skip
"""Special-purpose blocks (the IANA registries of RFC 6890) that nobody's public service has."""


@attrs.frozen(kw_only=True)
class Egress:
    """
    The rules of one `network` service, as workerd wants them written.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...]


NOTHING: Final = Egress(allow=(), deny=())
"""No network at all."""


def policy(named: Iterable[Network], own: Iterable[Address]) -> Egress:
    """
    Public addresses, and exactly the networks that are named.

    Args:
        named: What the operator opens besides.
        own: Addresses of this host: a service on them that was meant for the host alone is not for
            functions. One is opened only by naming it alone (`/32`, `/128`), not by a network that
            it happens to be in.
    """
    named = tuple(dict.fromkeys(named))
    closed = [block for block in NOT_PUBLIC if not _covered(block, named)]
    opened = [block for block in NOT_PUBLIC if _covered(block, named)]
    own_blocks = (ipaddress.ip_network(address) for address in own if not address.is_loopback)
    own_closed = [block for block in own_blocks if block not in named]
    return Egress(
        # A named network opens the special blocks inside it only when they are named too, since
        # they are the more specific rule.
        allow=("public", *_texts([*named, *opened])),
        deny=_texts([*closed, *own_closed]),
    )


def may_reach(address: Address, named: Iterable[Network], own: Iterable[Address]) -> bool:
    """
    Whether `policy` lets functions reach an address.
    """
    named = tuple(named)
    alone = ipaddress.ip_network(address)
    if address in own and not address.is_loopback:
        return alone in named
    return any(address in network for network in named) or not any(
        address in block for block in NOT_PUBLIC
    )


def _texts(networks: Iterable[Network]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(network) for network in networks))


def _covered(block: Network, named: Iterable[Network]) -> bool:
    for network in named:
        if isinstance(block, ipaddress.IPv4Network):
            if isinstance(network, ipaddress.IPv4Network) and block.subnet_of(network):
                return True
        elif isinstance(network, ipaddress.IPv6Network) and block.subnet_of(network):
            return True
    return False


def own_addresses(proc: Path = Path("/proc")) -> tuple[Address, ...]:
    """
    The addresses of this host's interfaces, as far as the kernel tells.
    """
    found: list[Address] = []
    found.extend(local_ipv4(_text(proc / "net" / "fib_trie")))
    found.extend(interface_ipv6(_text(proc / "net" / "if_inet6")))
    return tuple(dict.fromkeys(found))


def local_ipv4(fib_trie: str) -> tuple[ipaddress.IPv4Address, ...]:
    """
    The addresses that `/proc/net/fib_trie` calls `/32 host LOCAL`.
    """
    found = []
    candidate = ""
    for line in fib_trie.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            candidate = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and candidate:
            found.append(ipaddress.IPv4Address(candidate))
    return tuple(dict.fromkeys(found))


def interface_ipv6(if_inet6: str) -> tuple[ipaddress.IPv6Address, ...]:
    """
    The first column of `/proc/net/if_inet6`: 32 hex digits each.
    """
    words = (line.split() for line in if_inet6.splitlines())
    return tuple(ipaddress.IPv6Address(int(word[0], 16)) for word in words if word)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
