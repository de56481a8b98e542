"""Policies of accounts as values."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.policies import (
    MOST_NETWORKS,
    AccountPolicy,
    ForAll,
    Isolation,
    Network,
    Reach,
)

v4 = st.builds(
    lambda number, length: ipaddress.ip_network((number, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
v6 = st.builds(
    lambda number, length: ipaddress.ip_network((number, length), strict=False),
    st.integers(2**32, 2**128 - 1),
    st.integers(0, 128),
)


@given(st.booleans(), st.lists(v4 | v6, max_size=6, unique=True))
def test_what_is_written_is_read(public: bool, networks: list[Network]) -> None:
    """
    A reach reads as itself from what it writes.
    """
    reach = Reach(public, tuple(networks))
    assert Reach.parse(str(reach)) == reach
    assert reach.nothing is (str(reach) == "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "says nothing"),
        (" , ", "says nothing"),
        ("none public", "stands alone"),
        ("10.0.0.1/8", "no bits set"),
        ("example.com", "names of hosts"),
        ("unix", "neither public nor none"),
        ("private", "neither public nor none"),
        ("*", "neither public nor none"),
        (" ".join(f"10.0.{n}.0/24" for n in range(MOST_NETWORKS + 1)), "more than"),
    ],
)
def test_nonsense_is_refused(text: str, message: str) -> None:
    """
    What is no reach is refused with what would be right; workerd's own words are none of ours.
    """
    with pytest.raises(ValueError, match=message):
        Reach.parse(text)


def test_what_holds() -> None:
    """
    A policy counts before the settings, part by part; who reaches other things than all do is not
    in the cell of all.
    """
    for_all = ForAll(isolation=Isolation.SHARED)
    nothing = Reach.parse("none")
    usual = for_all.with_policy(AccountPolicy())
    assert (usual.isolation, usual.egress, usual.own_isolation, usual.own_egress) == (
        Isolation.SHARED, Reach(), False, False,
    )  # fmt: skip
    alone = for_all.with_policy(AccountPolicy(isolation=Isolation.FUNCTION))
    assert (alone.isolation, alone.own_isolation) == (Isolation.FUNCTION, True)
    closed = for_all.with_policy(AccountPolicy(egress=nothing))
    assert (closed.isolation, closed.egress) == (Isolation.ACCOUNT, nothing)
    insists = for_all.with_policy(AccountPolicy(isolation=Isolation.SHARED, egress=nothing))
    assert insists.isolation is Isolation.ACCOUNT
