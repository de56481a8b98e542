"""
What people see: results on standard output, everything else on standard error.

Colours and progress appear on terminals only; `NO_COLOR` turns colours off everywhere
(https://no-color.org). Text from the server or from files is made harmless first.

Rich is imported where something is painted: it takes as long as everything else that a command
needs, and many a command paints nothing.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_TO_BE_COPIED: Final = re.compile(r"-|[0-9a-f-]{8,}|https?://\S+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
"""What is of no use in two pieces: ids, addresses, instants."""
_GAP: Final = 2
_NARROW: Final = 16
"""Columns to which other text is folded where there is little room."""


def printable(text: str) -> str:
    """
    Without control characters, which could move the cursor or repaint the terminal, and without
    those that turn the direction of writing round. Line ends and tabs stay.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def output_console() -> "Console":
    """
    Standard output as it is now.
    """
    from rich.console import Console

    return Console(file=sys.stdout, soft_wrap=True, highlight=False)


def error_console() -> "Console":
    """
    Standard error as it is now.
    """
    from rich.console import Console

    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """
    One line of a result.
    """
    click.echo(printable(text))


def note(text: str) -> None:
    """
    One line about what is going on.
    """
    click.echo(printable(text), err=True)


def warn(text: str) -> None:
    """
    Something that the user should know but that stops nothing.
    """
    labelled("warning:", "yellow", text)


def labelled(label: str, colour: str, text: str) -> None:
    """
    A line on standard error that says with its first word what sort of line it is.
    """
    if has_colours(sys.stderr):
        label = click.style(label, fg=colour, bold=True)
    click.echo(f"{label} {printable(text)}", err=True, color=True)


def has_colours(stream: TextIO) -> bool:
    """
    Whether what is written there may have colours.
    """
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (
        stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    )


def show_json(document: Any) -> None:
    """
    A result for programs: one JSON document, ASCII only, so that no terminal can be upset.
    """
    click.echo(json.dumps(document, indent=2))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """
    A result for people. Without a terminal: columns separated by tabs, without headings.
    """
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(printable(cell).replace("\t", " ") for cell in row))
        return
    from rich.cells import cell_len
    from rich.console import Console, ConsoleDimensions
    from rich.table import Table
    from rich.text import Text

    texts = [tuple(printable(cell) for cell in row) for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headings))
    needed = _GAP * (len(headings) - 1)
    for number, heading in enumerate(headings):
        column = [row[number] for row in texts]
        # The first one names the row.
        whole = not table.columns or all(_TO_BE_COPIED.fullmatch(cell) for cell in column)
        table.add_column(heading, overflow="fold", no_wrap=whole)
        widest = max(map(cell_len, (heading, *column)))
        needed += widest if whole else min(widest, _NARROW)
    for cells in texts:
        table.add_row(*map(Text, cells))
    console = Console(file=sys.stdout, highlight=False)
    # Wider than the terminal if need be: a line that it breaks can be copied, one that we break
    # or cut cannot.
    console.size = ConsoleDimensions(max(console.width, needed), console.height)
    with console.capture() as painted:
        console.print(table)
    for line in painted.get().splitlines():
        click.echo(line.rstrip())


def working(text: str) -> AbstractContextManager[object]:
    """
    Shows on a terminal that something is being done.
    """
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.text import Text

    return error_console().status(Text(printable(text)))


def is_interactive() -> bool:
    """
    Whether somebody can be asked.
    """
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, assume_yes: bool) -> None:
    """
    Ask on a terminal; go on without asking elsewhere.

    Raises:
        click.Abort: the answer was no.
    """
    if not assume_yes and is_interactive():
        click.confirm(printable(question), abort=True, err=True)


def size_text(size: int) -> str:
    """
    A number of bytes as Wrangler prints it.
    """
    return f"{size / 1024:.2f} KiB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.2f} MiB"


def when(moment: str | None) -> str:
    """
    A time stamp of the API in local time; what cannot be read is shown as it is.
    """
    if not moment:
        return "-"
    from datetime import datetime

    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return parsed.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def when_epoch(seconds: object) -> str:
    """
    Seconds since 1970 in local time.
    """
    if not isinstance(seconds, int | float):
        return "-"
    from datetime import datetime

    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
