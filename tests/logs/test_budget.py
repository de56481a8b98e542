"""How much cells may report."""

from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.runtime.budget import Budget, spend


def test_a_burst_then_waiting_then_refusal() -> None:
    """
    The burst is free, what comes next has to wait, and who does not wait is refused until then.
    """
    budget = Budget(per_second=10, burst=100)
    assert spend([budget], 100, 0) == 0
    assert spend([budget], 50, 0) == 5
    assert spend([budget], 60, 0) == 11
    assert spend([budget], 1, 0) is None
    assert spend([budget], 1, 0.5) is None
    assert spend([budget], 1, 1.5) == 9.6
    assert spend([budget], 100, 1000) == 0


def test_the_others_are_not_charged_for_a_refusal() -> None:
    """
    A report that one budget refuses costs the other ones nothing.
    """
    own, common = Budget(per_second=1, burst=10), Budget(per_second=1, burst=1000)
    assert spend([own, common], 30, 0) == 20
    for _ in range(100):
        assert spend([own, common], 30, 0) is None
    assert spend([Budget(per_second=1, burst=10), common], 0, 0) == 0


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 5)), max_size=60))
def test_the_rate_holds_in_the_long_run(reports: list[tuple[int, float]]) -> None:
    """
    Whoever waits for as long as it is asked to has never sent more than burst and rate allow.
    """
    budget = Budget(per_second=100, burst=1000)
    now, sent = 0.0, 0
    for size, pause in reports:
        wait = spend([budget], size, now)
        assert wait is not None
        sent += size
        now += wait + pause
        assert sent <= 1000 + 100 * now + 1e-6
