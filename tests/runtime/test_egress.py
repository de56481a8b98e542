"""The egress policy as values."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.runtime import egress
from workerd_faas.runtime.egress import Network, policy

_PUBLIC_DENIES = [
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.168.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "0.0.0.0/32",
        "::1/128", "::/128", "fc00::/7", "fe80::/10",
    )
]  # fmt: skip


def admits(rules: egress.Egress, address: str) -> bool:
    """
    What workerd makes of the rules: the most specific entry decides, `allow` at a tie.
    """
    target = ipaddress.ip_address(address)

    def best(networks: list[Network]) -> int:
        matching = [n for n in networks if n.version == target.version and target in n]
        return max((n.prefixlen for n in matching), default=-1)

    allow = [ipaddress.ip_network(t) for t in rules.allow if t != "public"]
    deny = [ipaddress.ip_network(t) for t in rules.deny]
    if "public" in rules.allow:
        allow += [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
        deny += _PUBLIC_DENIES
    return best(allow) >= 0 and best(allow) >= best(deny)


CLOSED = (
    "127.0.0.1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:db8::1", "2002:7f00:1::", "fc00::1", "::ffff:8.8.8.8", "::ffff:0:7f00:1",
    "2001:2::1", "2001:20::1", "100:0:0:1::1", "3fff::1", "5f00::1", "168.63.129.16",
    "100.100.100.200", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
)  # fmt: skip
OPEN = (
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "192.1.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00::1",
    "168.63.129.17",
    "2001:200::1",
    "2001:4860:4860::8888",
)


def test_public_addresses_only() -> None:
    """
    By default every special-purpose block is closed, and the rest of the address space is open.
    """
    rules = policy([], [])
    assert [a for a in CLOSED if admits(rules, a)] == []
    assert [a for a in OPEN if not admits(rules, a)] == []


def test_own_addresses_are_closed() -> None:
    """
    A public address of this host is closed, unless it is named by itself.
    """
    own = [ipaddress.ip_network("8.8.8.8"), ipaddress.ip_network("10.0.0.5")]
    assert not admits(policy([], own), "8.8.8.8")
    wide = [ipaddress.ip_network("10.0.0.0/8")]
    assert admits(policy(wide, own), "10.0.0.4")
    assert not admits(policy(wide, own), "10.0.0.5")
    exact = [*wide, ipaddress.ip_network("10.0.0.5/32")]
    assert admits(policy(exact, own), "10.0.0.5")


def test_without_public_addresses() -> None:
    """
    Without public addresses exactly the named networks are open, and nothing at all without those.
    """
    named = [ipaddress.ip_network(text) for text in ("10.0.5.0/24", "1.1.1.0/24")]
    rules = policy(named, [], public=False)
    assert all(admits(rules, a) for a in ("10.0.5.1", "1.1.1.1"))
    assert [a for a in (*CLOSED, *OPEN) if a != "1.1.1.1" and admits(rules, a)] == []
    assert policy([], [], public=False) == egress.NOTHING
    own = [ipaddress.ip_network("10.0.5.7/32")]
    assert not admits(policy(named, own, public=False), "10.0.5.7")


@given(st.sampled_from((*CLOSED, *OPEN)), st.booleans())
def test_what_is_foretold_holds(address: str, public: bool) -> None:
    """
    `may_reach` says of an address what the rules make of it.
    """
    named = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "1.1.1.1/32", "fc00::/7")]
    own = [ipaddress.ip_network(text) for text in ("10.1.2.3/32", "8.8.8.8/32", "127.0.0.0/8")]
    foretold = egress.may_reach(ipaddress.ip_address(address), named, own, public=public)
    assert admits(policy(named, own, public=public), address) is foretold


v4 = st.builds(
    lambda number, length: ipaddress.ip_network((number, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
near = st.sampled_from([n for n in egress.NOT_PUBLIC if n.version == 4]).flatmap(
    lambda block: st.sampled_from([block, block.supernet(), next(iter(block.subnets(1)))])
)


@given(st.lists(v4 | near, max_size=4), st.integers(1, 2**32 - 1))
def test_exactly_what_is_named_is_open(named: list[Network], number: int) -> None:
    """
    An address is reached if it is public or in a named network, and not otherwise. (Not 0.0.0.0,
    which is another word for this host and stays closed.)
    """
    address = ipaddress.IPv4Address(number)
    public = not any(address in block for block in egress.NOT_PUBLIC if block.version == 4)
    expected = public or any(address in network for network in named)
    assert admits(policy(named, []), str(address)) is expected


@given(st.lists(near, min_size=1, max_size=4))
def test_every_edge_of_a_named_network(named: list[Network]) -> None:
    """
    The first and last address of each named network are open.
    """
    rules = policy(named, [])
    for network in named:
        assert int(network[0]) == 0 or admits(rules, str(network[0]))
        assert admits(rules, str(network[-1]))


def test_unix_sockets_are_never_allowed() -> None:
    """
    No policy has the words that would open unix sockets or everything private.
    """
    rules = policy([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")], [])
    assert {"unix", "unix-abstract", "private", "local"}.isdisjoint(rules.allow)


FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     |-- 198.51.100.7
        /32 host LOCAL
"""


_NOWHERE = f"{0:032x}"
ROUTES = "".join(
    f"{destination} {length} {_NOWHERE} 00 {_NOWHERE} 00000100 00000001 00000000 {flags}     lo\n"
    for destination, length, flags in (
        (f"{0x20010DB8 << 96:032x}", "20", "00000001"),
        (f"{0x20010DB80005 << 80:032x}", "30", "80200001"),
        (_NOWHERE, "00", "80200200"),
    )
)


def test_own_addresses_are_found() -> None:
    """
    The kernel's tables give the addresses and networks that are ours and no others; missing tables
    give none.
    """
    assert [str(a) for a in egress.local_ipv4(FIB)] == [
        "127.0.0.0/8", "127.0.0.1/32", "198.51.100.7/32",
    ]  # fmt: skip
    line = "fe8000000000000000fc00fffe000001 02 40 20 80 eth0\n"
    assert [str(a) for a in egress.interface_ipv6(line)] == ["fe80::fc:ff:fe00:1/128"]
    assert egress.local_ipv4("") == egress.interface_ipv6("") == ()
    assert [str(a) for a in egress.routed_ipv6(ROUTES)] == ["2001:db8:5::/48"]
    assert egress.routed_ipv6("") == egress.routed_ipv6("nonsense\n") == ()
    assert ipaddress.ip_network("127.0.0.1") in egress.own_addresses()
