"""Secrets on their way from the user, and what is said about them."""

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from workerd_faas.cli.failure import usage
from workerd_faas.cli.terminal import is_interactive

MAX_AT_ONCE = 100
"""What the server takes in one request."""


def read_text(name: str) -> str:
    """
    A secret's text: asked for without an echo, or all of standard input but a final line end.

    Raises:
        Failure: there is none.
    """
    if is_interactive():
        text: str = click.prompt(f"Text of {name}", hide_input=True, err=True)
    else:
        text = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not text:
        raise usage(f"There is no text for {name}.", hint="write it to standard input")
    return text


def read_bulk(file: Path | None) -> dict[str, str | None]:
    """
    Names and texts of a JSON object in a file or on standard input; null takes a secret away.

    Raises:
        Failure: it is something else; the message has no text of it.
    """
    try:
        content = sys.stdin.read() if file is None else file.read_text("utf-8")
        found: Any = json.loads(content)
    except (OSError, ValueError):
        found = None
    if (
        not isinstance(found, dict)
        or not all(text is None or isinstance(text, str) for text in found.values())
        or not 1 <= len(found) <= MAX_AT_ONCE
    ):
        raise usage(
            f"{file or 'Standard input'} must be a JSON object of 1 to {MAX_AT_ONCE} texts by "
            'their names, such as {"KEY": "text", "OLD": null}.'
        )
    return found


def check_names(changes: Mapping[str, str | None]) -> None:
    """
    As Wrangler does: any name goes but one that looks like another, which code would miss. Such a
    one can still be taken away.

    Raises:
        Failure: a name that is to be set begins or ends with white space.
    """
    for name, text in changes.items():
        if text is not None and name != name.strip():
            raise usage(f"The name {name!r} begins or ends with white space.")


def told(changes: Mapping[str, str | None], there: Collection[str]) -> str:
    """
    What changes come to, where these secrets are there.
    """
    gone = [name for name, text in changes.items() if text is None]
    absent = [name for name in gone if name not in there]
    parts = []
    if len(changes) > len(gone):
        parts.append(_counted(len(changes) - len(gone), "set"))
    if len(gone) > len(absent):
        parts.append(_counted(len(gone) - len(absent), "taken away"))
    if absent:
        parts.append(f"{', '.join(absent)} {'was' if len(absent) == 1 else 'were'} not there")
    return ", ".join(parts)


def _counted(count: int, done: str) -> str:
    return f"{count} secret{'' if count == 1 else 's'} {done}"
