"""Everything tried on both platforms, side by side."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from tests.assets.test_like_wrangler_dev import KINDS, PATHS, SITES
from tests.compatibility.differences import MASKED
from tests.compatibility.exchanges import GROUPS, outcome
from tests.compatibility.platforms import Platform
from tests.e2e.daemon import ROOT, until

TRIED: Final = (
    "vars", "secret", "kv", "d1", "queue", "service", "assets", "version", "ratelimit", "analytics",
    "hyperdrive", "modules", "runtime",
)  # fmt: skip
"""Subjects that the Worker tries by itself."""

TOLD: Final = {"consumer": ("queue", 4), "scheduled": ("scheduled", 1), "tail": ("tail", 2)}
"""Subjects that come as events: what they are kept under, and how many there will be."""

_CLOCK_SECONDS: Final = 150.0

Outcomes = Mapping[str, Any]


@attrs.frozen
class Compared:
    """
    One thing that was tried, and what came of it on both platforms.
    """

    what: str
    here: Any
    there: Any

    @property
    def same(self) -> bool:
        """
        Whether it is the same, down to the bytes.
        """
        return bool(self.here == self.there)

    def __str__(self) -> str:
        here, there = (json.dumps(each, ensure_ascii=False) for each in (self.here, self.there))
        return f"{self.what}\n    here:  {here[:1500]}\n    there: {there[:1500]}"


def numbered(outcomes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """
    By what was tried; what was tried again has a number.
    """
    seen: Counter[str] = Counter()
    found = {}
    for what, value in outcomes:
        seen[what] += 1
        found[what if seen[what] == 1 else f"{what} ({seen[what]})"] = value
    return found


def outcomes(platform: Platform) -> dict[str, Outcomes]:
    """
    By subject.
    """
    platform.ask("GET", "/emit")
    for path in ("/tailed/works?a=1", "/tailed/fails"):
        platform.ask("GET", path, (("X-Tailed", "1"), ("Authorization", "Bearer hidden")))
    if platform.scheduled is not None:
        platform.ask("GET", f"{platform.scheduled}&time=1790000040000")
    found: dict[str, Outcomes] = {
        subject: numbered(platform.json(f"/try/{subject}")) for subject in TRIED
    }
    for group in GROUPS:
        if group == "responses":
            platform.ask("GET", "/late")
            until(lambda: platform.ask("GET", "/waited").body == b"done", "waitUntil is done")
        found[group] = dict(answered(platform, group))
    for subject, (kept, count) in TOLD.items():
        found[subject] = told(platform, kept, count)
    return found


def answered(platform: Platform, group: str) -> Iterator[tuple[str, Any]]:
    """
    What came of each request of a group. Of an error the status must be the same, whatever is said.
    """
    for exchange in GROUPS[group]:
        found = outcome(platform, exchange)
        if group == "errors":
            yield f"{exchange.what}: status", found.pop("status", None)
            yield f"{exchange.what}: what is seen", found
        else:
            yield exchange.what, found


def masked(outcomes: Outcomes, key: str) -> Outcomes:
    """
    With the values of a key, wherever it is, apart from the others.
    """
    values: list[Any] = []

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [without(each) for each in value]
        if isinstance(value, dict):
            if key in value:
                values.append(value[key])
            return {name: without(each) for name, each in value.items() if name != key}
        return value

    return {**{what: without(value) for what, value in outcomes.items()}, f"every {key}": values}


def told(platform: Platform, kept: str, count: int) -> Outcomes:
    """
    What events said of themselves, once all of them have come.
    """
    rows: list[Any] = []

    def all_there() -> bool:
        rows[:] = platform.json(f"/told/{kept}")
        groups = {what.partition(":")[0] if ":" in what else "" for what, _ in rows}
        return len(groups) >= count

    until(all_there, f"{count} {kept} events have come", _CLOCK_SECONDS)
    return numbered((what, value) for what, value in rows)


def compared(here: Platform, there: Platform) -> dict[str, list[Compared]]:
    """
    By subject.
    """
    ours, theirs = outcomes(here), outcomes(there)
    for subject, key in MASKED.items():
        for side in (ours, theirs):
            side[subject] = masked(side[subject], key)
    return {
        subject: [
            Compared(what, ours[subject].get(what), theirs[subject].get(what))
            for what in [*ours[subject], *(w for w in theirs[subject] if w not in ours[subject])]
        ]
        for subject in ours
    }


def record_of(found: Mapping[str, list[Compared]]) -> dict[str, Any]:
    """
    What docs/compatibility.md is written from: names alone, since values are others each time.
    """
    package = json.loads((ROOT / "node_modules" / "wrangler" / "package.json").read_text("utf-8"))
    return {
        "wrangler": package["version"],
        "sites": len(SITES) * len(PATHS) * len(KINDS),
        "subjects": {
            subject: {
                "tried": [row.what for row in rows],
                "different": [row.what for row in rows if not row.same],
            }
            for subject, rows in sorted(found.items())
        },
    }
