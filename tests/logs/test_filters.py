"""The filters of a tail."""

from typing import Any

import pytest

from tests.logs.reports import exception, invocation
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.invocation import Invocation
from workerd_faas.usecases.logs.filters import read_filters


def lets(found: Invocation, *filters: Any, chance: float = 0.5) -> bool:
    """
    Whether these filters let it through.
    """
    read = read_filters({"filters": list(filters)}, client_ip="192.0.2.7")
    return read.let_through(found, found.event, chance)


REQUEST = {"method": "POST", "headers": {"x-a": "Some Value", "cf-connecting-ip": "192.0.2.7"}}
POSTED = invocation("Found It", event={"request": REQUEST})
CRON = invocation("tick", event={"cron": "* * * * *", "scheduledTime": 1})
BROKEN = invocation(outcome="exception", exceptions=[exception("unlucky")])
ODD = invocation("x", outcome="somethingNew")


@pytest.mark.parametrize(
    ("found", "filter_", "expected"),
    [
        (POSTED, {"outcome": ["ok", "canceled"]}, True),
        (BROKEN, {"outcome": ["ok"]}, False),
        (BROKEN, {"outcome": ["exception", "unknown"]}, True),
        (ODD, {"outcome": ["unknown"]}, True),
        (ODD, {"outcome": ["ok"]}, False),
        (POSTED, {"method": ["get", "post"]}, True),
        (POSTED, {"method": ["GET"]}, False),
        (CRON, {"method": ["GET"]}, False),
        (POSTED, {"header": {"key": "X-A"}}, True),
        (POSTED, {"header": {"key": "x-a", "query": "value"}}, True),
        (POSTED, {"header": {"key": "x-a", "query": "other"}}, False),
        (POSTED, {"header": {"key": "x-b"}}, False),
        (CRON, {"header": {"key": "x-a"}}, False),
        (POSTED, {"query": "found it"}, True),
        (BROKEN, {"query": "unlucky"}, True),
        (POSTED, {"query": "lost it"}, False),
        (POSTED, {"client_ip": ["self"]}, True),
        (POSTED, {"client_ip": ["192.0.2.8", "192.0.2.7"]}, True),
        (POSTED, {"client_ip": ["::1"]}, False),
        (CRON, {"client_ip": ["self"]}, False),
        (POSTED, {"scriptVersion": "11111111-2222-4333-8444-555555555555"}, True),
        (POSTED, {"scriptVersion": "11111111"}, True),
        (POSTED, {"scriptVersion": "2"}, False),
        (POSTED, {"sampling_rate": 1}, True),
        (POSTED, {"sampling_rate": 0.4}, False),
        (POSTED, {"sampling_rate": 0}, False),
    ],
)
def test_a_filter(found: Invocation, filter_: dict[str, Any], expected: bool) -> None:
    """
    Each filter lets through what it says.
    """
    assert lets(found, filter_) is expected


def test_all_must_hold() -> None:
    """
    Several filters let through what each of them does; none let everything through.
    """
    assert lets(POSTED)
    assert lets(POSTED, {"method": ["POST"]}, {"query": "found"})
    assert not lets(POSTED, {"method": ["POST"]}, {"query": "lost"})
    assert not lets(POSTED, {"sampling_rate": 0.6}, {"sampling_rate": 0.6})


@pytest.mark.parametrize(
    "filters",
    [
        "x",
        [{}],
        [{"method": ["GET"], "query": "x"}],
        [["method"]],
        [{"colour": "blue"}],
        [{"method": "GET"}],
        [{"method": []}],
        [{"method": [1]}],
        [{"outcome": ["fine"]}],
        [{"sampling_rate": 2}],
        [{"sampling_rate": True}],
        [{"sampling_rate": "1"}],
        [{"query": ""}],
        [{"query": "x" * 1001}],
        [{"header": {"query": "x"}}],
        [{"header": {"key": "x", "other": 1}}],
        [{"header": "x"}],
        [{"client_ip": ["nobody"]}],
        [{"scriptVersion": 1}],
        [{"query": "x"}] * 51,
    ],
)
def test_what_is_no_filter_is_refused(filters: Any) -> None:
    """
    Anything else is BAD_REQUEST, not an exception of another kind.
    """
    with pytest.raises(Problem) as caught:
        read_filters({"filters": filters}, client_ip=None)
    assert caught.value.kind is Kind.BAD_REQUEST


def test_self_needs_an_address() -> None:
    """
    `self` is refused where the address of whoever asks is not known.
    """
    with pytest.raises(Problem):
        read_filters({"filters": [{"client_ip": ["self"]}]}, client_ip=None)
