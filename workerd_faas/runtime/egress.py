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
        # Not denied by `public`: this network, documentation, benchmarking, 6to4 relays, a cloud's
        # metadata service on a public address,
        "0.0.0.0/8", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "168.63.129.16/32",
        # IPv6 ways to write or tunnel IPv4 addresses: compatible, mapped, translated, NAT64, 6to4;
        # protocols' own, among them Teredo and ORCHID; discard, documentation, segments, sites.
        "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",
        "2001::/23", "100::/64", "100:0:0:1::/64", "2001:db8::/32", "3fff::/20", "5f00::/16",
        "fec0::/10",
    )
)  # fmt: skip
"""
Special-purpose blocks (the IANA registries of RFC 6890, as of 2026) that nobody's public service
has. Those of the registries that are globally reachable (AS112, AMT) are left out.
"""


_RTF_LOCAL: Final = 0x80000000
"""linux/ipv6_route.h."""


@attrs.frozen(kw_only=True)
class Egress:
    """
    The rules of one `network` service, as workerd wants them written.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...]


NOTHING: Final = Egress(allow=(), deny=())
"""No network at all."""


def policy(named: Iterable[Network], own: Iterable[Network], *, public: bool = True) -> Egress:
    """
    Public addresses, and exactly the networks that are named.

    Args:
        named: What the operator opens besides.
        own: Addresses of this host: a service on them that was meant for the host alone is not for
            functions. One is opened only by naming it alone (`/32`, `/128`), not by a network that
            it happens to be in.
        public: Whether public addresses are open.
    """
    named = tuple(dict.fromkeys(named))
    if not public and not named:
        return NOTHING
    closed = [block for block in NOT_PUBLIC if not _covered(block, named)]
    opened = [block for block in NOT_PUBLIC if _covered(block, named)]
    own_closed = [block for block in own if not block.is_loopback and block not in named]
    return Egress(
        # A named network opens the special blocks inside it only when they are named too, since
        # they are the more specific rule.
        allow=(*(["public"] if public else ()), *_texts([*named, *opened])),
        deny=_texts([*closed, *own_closed]),
    )


def may_reach(
    address: Address, named: Iterable[Network], own: Iterable[Network], *, public: bool = True
) -> bool:
    """
    Whether `policy` lets functions reach an address.
    """
    named = tuple(named)
    alone = ipaddress.ip_network(address)
    if not address.is_loopback and any(address in block for block in own):
        return alone in named
    if any(address in network for network in named):
        return True
    return public and not any(address in block for block in NOT_PUBLIC)


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


def own_addresses(proc: Path = Path("/proc")) -> tuple[Network, ...]:
    """
    The addresses that are this host itself, as far as the kernel tells: those of interfaces, each
    alone, and networks that are routed to the host as a whole.
    """
    found: list[Network] = []
    found.extend(local_ipv4(_text(proc / "net" / "fib_trie")))
    found.extend(interface_ipv6(_text(proc / "net" / "if_inet6")))
    found.extend(routed_ipv6(_text(proc / "net" / "ipv6_route")))
    return tuple(dict.fromkeys(found))


def local_ipv4(fib_trie: str) -> tuple[ipaddress.IPv4Network, ...]:
    """
    What `/proc/net/fib_trie` calls `host LOCAL`.
    """
    found = []
    candidate = ""
    for line in fib_trie.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            candidate = words[1]
        elif words[1:] == ["host", "LOCAL"] and words[0].startswith("/") and candidate:
            found.append(ipaddress.IPv4Network(candidate + words[0], strict=False))
    return tuple(dict.fromkeys(found))


def interface_ipv6(if_inet6: str) -> tuple[ipaddress.IPv6Network, ...]:
    """
    The first column of `/proc/net/if_inet6`: 32 hex digits each.
    """
    words = (line.split() for line in if_inet6.splitlines())
    return tuple(ipaddress.IPv6Network(int(word[0], 16)) for word in words if word)


def routed_ipv6(ipv6_route: str) -> tuple[ipaddress.IPv6Network, ...]:
    """
    Destinations of `/proc/net/ipv6_route` whose flags, the last column but one, say that they are
    local. (`::/0` is among them when it is unreachable: another thing.)
    """
    found = []
    for line in ipv6_route.splitlines():
        words = line.split()
        if len(words) == 10 and int(words[8], 16) & _RTF_LOCAL and int(words[1], 16):
            found.append(ipaddress.IPv6Network((int(words[0], 16), int(words[1], 16))))
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
