"""Who the client is."""

import ipaddress
import json

import pytest

from workerd_faas.ingress.peers import (
    Client,
    Peer,
    direct_client,
    forwarded_client,
    is_trusted,
    parse_address,
)

PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def lines_of(client: Client) -> dict[str, str]:
    """
    The header lines.
    """
    lines: dict[str, str] = {}
    for line in client.lines.decode().splitlines():
        name, _, value = line.partition(": ")
        lines[name] = value
    return lines


def forwarded(chain: bytes | None, proto: bytes | None = None, peer: str = "10.0.0.1") -> Client:
    """
    A client behind a proxy.
    """
    return forwarded_client(Peer(address=parse_address(peer), trusted=True), chain, proto, PROXIES)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4:80 ", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("", None),
        ("1.2.3", None),
        ("1.2.3.4, 5.6.7.8", None),
    ],
)
def test_addresses(text: str, address: str | None) -> None:
    """
    Addresses are read in all the ways that sockets and proxies write them.
    """
    parsed = parse_address(text)
    assert (None if parsed is None else str(parsed)) == address


def test_direct() -> None:
    """
    A direct client is who its socket says.
    """
    client = direct_client(
        Peer(address=parse_address("192.0.2.1"), tls=("TLSv1.3", "TLS_AES_128_GCM_SHA256"))
    )
    lines = lines_of(client)
    assert lines["cf-connecting-ip"] == lines["x-real-ip"] == lines["x-forwarded-for"]
    assert lines["x-forwarded-for"] == "192.0.2.1"
    assert lines["x-forwarded-proto"] == lines["wfaas-proto"] == "https"
    assert lines["cf-visitor"] == '{"scheme":"https"}'
    cf = json.loads(b"{" + client.cf + b"}")
    assert cf["clientIp"] == "192.0.2.1"
    assert cf["tlsVersion"] == "TLSv1.3"


def test_nameless() -> None:
    """
    A client on a unix socket has no address, and none is made up.
    """
    lines = lines_of(direct_client(Peer(address=None)))
    assert not any("ip" in name or name.endswith("-for") for name in lines)


@pytest.mark.parametrize(
    ("chain", "client", "sent"),
    [
        (b"192.0.2.1", "192.0.2.1", "192.0.2.1, 10.0.0.1"),
        (b"6.6.6.6, 192.0.2.1", "192.0.2.1", "192.0.2.1, 10.0.0.1"),
        (b"192.0.2.1, 10.9.9.9", "192.0.2.1", "192.0.2.1, 10.9.9.9, 10.0.0.1"),
        (b"10.1.1.1, 10.9.9.9", "10.1.1.1", "10.1.1.1, 10.9.9.9, 10.0.0.1"),
        (b"192.0.2.1, nonsense", "10.0.0.1", "10.0.0.1"),
        (b"", "10.0.0.1", "10.0.0.1"),
        (None, "10.0.0.1", "10.0.0.1"),
        (b"2001:db8::1, fd00::5", "2001:db8::1", "2001:db8::1, fd00::5, 10.0.0.1"),
        (b"6.6.6.6, " * 1000 + b"192.0.2.1", "192.0.2.1", "192.0.2.1, 10.0.0.1"),
    ],
)
def test_forwarded(chain: bytes | None, client: str, sent: str) -> None:
    """
    The client is the rightmost address that is no proxy of ours; nothing left of it is believed.
    """
    lines = lines_of(forwarded(chain))
    assert lines["cf-connecting-ip"] == client
    assert lines["x-forwarded-for"] == sent


def test_scheme() -> None:
    """
    A proxy may say which scheme the client used, that of a WebSocket too, and nothing else.
    """
    assert lines_of(forwarded(None, b"HTTPS"))["x-forwarded-proto"] == "https"
    assert lines_of(forwarded(None, b"wss"))["x-forwarded-proto"] == "https"
    assert lines_of(forwarded(None, b"https\x00"))["x-forwarded-proto"] == "http"
    assert lines_of(forwarded(None))["x-forwarded-proto"] == "http"


def test_households() -> None:
    """
    IPv6 clients are counted by the /64 that they share.
    """
    keys = {
        direct_client(Peer(address=parse_address(text))).key
        for text in ("2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1", "192.0.2.1")
    }
    assert keys == {"2001:db8::/64", "2001:db8:0:1::/64", "192.0.2.1"}


def test_trust() -> None:
    """
    Trust does not cross address families.
    """
    assert is_trusted(parse_address("10.1.2.3"), PROXIES)
    assert is_trusted(parse_address("::ffff:10.1.2.3"), PROXIES)
    assert not is_trusted(parse_address("11.1.2.3"), PROXIES)
    assert not is_trusted(parse_address("::1"), PROXIES)
    assert not is_trusted(None, PROXIES)
