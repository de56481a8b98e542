"""`run_worker_first`: which requests the function gets before the site is looked at."""

from collections.abc import Sequence
from typing import Any, Final

import attrs

MAX_RULES: Final = 100
MAX_RULE: Final = 100


class BadRouting(ValueError):
    """
    The setting cannot be used; the message says why.
    """


@attrs.frozen(kw_only=True)
class Routing:
    """
    Attributes:
        always: The function gets every request.
        assets: Path patterns that go to the site whatever the next ones say.
        worker: Path patterns that go to the function.
    """

    always: bool = False
    assets: tuple[str, ...] = ()
    worker: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        """
        Whether any request goes to the function first.
        """
        return self.always or bool(self.worker)


def parse_routing(value: Any) -> Routing:
    """
    Read `run_worker_first`: a boolean, or patterns, of which those that begin with `!` are
    exceptions.

    Raises:
        BadRouting: it is neither, or a pattern is of no use.
    """
    if value is None or isinstance(value, bool):
        return Routing(always=bool(value))
    if not isinstance(value, list) or not all(isinstance(rule, str) for rule in value):
        raise BadRouting("must be a boolean or an array of path patterns")
    if not 1 <= len(value) <= MAX_RULES:
        raise BadRouting(f"must have 1 to {MAX_RULES} patterns; it has {len(value)}")
    for rule in value:
        if not rule.removeprefix("!").startswith("/"):
            raise BadRouting(f"has {rule[:MAX_RULE]!r}: patterns start with '/' or '!/'")
    exceptions = [rule for rule in value if rule.startswith("!")]
    worker = [rule for rule in value if not rule.startswith("!")]
    if not worker:
        raise BadRouting("has exceptions only: at least one pattern must be without '!'")
    _check(worker)
    _check(exceptions)
    return Routing(assets=tuple(rule[1:] for rule in exceptions), worker=tuple(worker))


def _check(rules: Sequence[str]) -> None:
    for rule in rules:
        if len(rule) > MAX_RULE:
            raise BadRouting(f"has a pattern longer than {MAX_RULE} characters: {rule[:40]!r}…")
        if rules.count(rule) > 1:
            raise BadRouting(f"has {rule!r} twice")
        if rule.endswith("*"):
            for other in rules:
                if other != rule and other.startswith(rule[:-1]):
                    raise BadRouting(f"has {other!r}, which {rule!r} makes redundant")
