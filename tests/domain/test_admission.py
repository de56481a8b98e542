"""How many requests a function and an account may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.admission import Admission, Meter, TrafficLimits, leave
from workerd_faas.domain.errors import Kind, Problem


def refused(admission: Admission, account: str, function: str, now: float = 0) -> int:
    """
    The seconds after which a refused request may come again.
    """
    with pytest.raises(Problem) as raised:
        admission.enter(account, function, now)
    assert raised.value.kind is Kind.TOO_MANY_REQUESTS
    assert raised.value.retry_after is not None
    return raised.value.retry_after


def test_at_once() -> None:
    """A function has so many requests at once, an account so many over all its functions."""
    admission = Admission(TrafficLimits(function_at_once=2, account_at_once=3))
    entered = [admission.enter("a", "f", 0), admission.enter("a", "f", 0)]
    assert refused(admission, "a", "f") == 1
    entered.append(admission.enter("a", "g", 0))
    assert refused(admission, "a", "g") == 1
    admission.enter("b", "h", 0)
    leave(entered.pop(0))
    admission.enter("a", "f", 0)
    assert admission.in_flight("a") == 3


def test_rate() -> None:
    """After a burst requests come at the rate, and whoever is refused is told when to come."""
    admission = Admission(TrafficLimits(function_rate=5))
    for _ in range(10):
        leave(admission.enter("a", "f", 100))
    assert refused(admission, "a", "f", 100) == 1
    assert refused(admission, "a", "f", 100.15) == 1
    leave(admission.enter("a", "f", 100.2))
    assert refused(admission, "a", "f", 100.3) == 1
    leave(admission.enter("a", "other", 100.3))
    assert admission.in_flight("a") == 0


def test_low_rate() -> None:
    """A rate below one a second still lets one request through, and says how long to wait."""
    admission = Admission(TrafficLimits(account_rate=0.1))
    admission.enter("a", "f", 0)
    assert refused(admission, "a", "g", 0) == 10
    assert refused(admission, "a", "g", 9.5) == 1
    admission.enter("a", "g", 10)


def test_who_is_refused_is_not_charged() -> None:
    """An account over its rate does not use up the rates of its functions."""
    admission = Admission(TrafficLimits(function_rate=1, account_rate=1))
    for _ in range(2):
        admission.enter("a", "f", 0)
    for _ in range(100):
        assert refused(admission, "a", "g", 0) == 1
    admission.enter("a", "g", 1)


def test_a_name_changes_hands() -> None:
    """A function's name that another account has now is counted to that one."""
    admission = Admission(TrafficLimits(account_at_once=1))
    before = admission.enter("a", "f", 0)
    admission.enter("b", "f", 0)
    leave(before)
    assert (admission.in_flight("a"), admission.in_flight("b")) == (0, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("fgh"), st.booleans(), st.floats(0, 2)),
        max_size=80,
    )
)
def test_counts(story: list[tuple[str, str, bool, float]]) -> None:
    """
    What is in flight is what entered and has not left, tidying loses nothing that counts, and
    nothing is kept in the end.
    """
    admission = Admission(TrafficLimits(function_at_once=3, account_at_once=4, function_rate=4))
    inside: list[tuple[str, Meter]] = []
    now = 0.0
    for account, function, ends, pause in story:
        now += pause
        if ends and inside:
            leave(inside.pop(0)[1])
        else:
            try:
                # Each account has functions of its own.
                inside.append((account, admission.enter(account, account + function, now)))
            except Problem as problem:
                assert problem.retry_after is not None
                assert 1 <= problem.retry_after <= 2
        admission.tidy(now)
        for each in "ab":
            of_account = sum(1 for owner, _ in inside if owner == each)
            assert admission.in_flight(each) == of_account <= 4
    for _, meter in inside:
        leave(meter)
    admission.tidy(now + 100)
    assert not admission._functions
    assert not admission._accounts
