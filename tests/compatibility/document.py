"""docs/compatibility.md from what was recorded and from what is declared. Pure."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.compatibility.differences import DIFFERENCES, FIELDS, SUBJECTS, Difference

RECORD: Final = Path(__file__).parent / "record.json"
TARGET: Final = Path(__file__).parents[2] / "docs" / "compatibility.md"

_HEAD: Final = (Path(__file__).parent / "head.txt").read_text("utf-8")

_DIFFERENCES: Final = """
## What differs

| subject | what | here | `wrangler dev` | why |
| --- | --- | --- | --- | --- |
"""

_FIELDS: Final = """
## Header fields

These are on one side only.

| field | here | `wrangler dev` | why |
| --- | --- | --- | --- |
"""

Record = Mapping[str, Any]
"""
`wrangler`: its version; `sites`: how many answers; `subjects`: by name, `tried` and `different`.
"""


def declared(subject: str, what: str) -> Difference | None:
    """
    The declared difference that this is.
    """
    return next((each for each in DIFFERENCES if each.covers(subject, what)), None)


def undeclared(record: Record) -> list[str]:
    """
    Differences that nobody has declared.
    """
    return [
        f"{subject}: {what}"
        for subject, found in record["subjects"].items()
        for what in found["different"]
        if declared(subject, what) is None
    ]


def unseen(record: Record) -> list[str]:
    """
    Patterns of declared differences that do not show.
    """
    return [
        f"{each.subject}: {pattern}"
        for each in DIFFERENCES
        for pattern in each.what
        if not any(
            Difference(subject=each.subject, what=(pattern,), here="", there="", why="").covers(
                each.subject, what
            )
            for what in record["subjects"][each.subject]["different"]
        )
    ]


def recorded() -> Record:
    """
    What was seen when the document was written.
    """
    found: Record = json.loads(RECORD.read_text("utf-8"))
    return found


def render(record: Record) -> str:
    """
    The whole document.
    """
    subjects = record["subjects"]
    tried = sum(len(found["tried"]) for found in subjects.values())
    different = sum(len(found["different"]) for found in subjects.values())
    head = _HEAD.format(
        tried=tried, same=tried - different, wrangler=record["wrangler"], sites=record["sites"]
    )
    rows = [
        _row(title, what, len(found["tried"]), len(found["tried"]) - len(found["different"]))
        for name, (title, what) in SUBJECTS.items()
        for found in [subjects[name]]
    ]
    differing = [
        _row(SUBJECTS[each.subject][0], each.title or each.what[0], each.here, each.there, each.why)
        for each in DIFFERENCES
    ]
    fields = [
        _row(f"`{each.name}`, in {_PLACES[each.where]}", each.here, each.there, each.why)
        for each in FIELDS
    ]
    return head + "".join(rows) + _DIFFERENCES + "".join(differing) + _FIELDS + "".join(fields)


_PLACES: Final = {"request": "requests", "answer": "answers"}


def _row(*cells: object) -> str:
    texts: Sequence[str] = [str(cell).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |\n"
