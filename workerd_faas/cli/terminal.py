"""
What people see: results on standard output, everything else on standard error.

Colours and progress appear on terminals only; `NO_COLOR` turns colours off everywhere
(https://no-color.org). Text from the server or from files is made harmless first.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """
    Without control characters, which could move the cursor or repaint the terminal, and without
    those that turn the direction of writing round. Line ends and tabs stay.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def output_console() -> Console:
    """
    Standard output as it is now.
    """
    return Console(file=sys.stdout, soft_wrap=True, highlight=False)


def error_console() -> Console:
    """
    Standard error as it is now.
    """
    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """
    One line of a result.
    """
    output_console().print(printable(text), markup=False)


def note(text: str, *, style: str | None = None) -> None:
    """
    One line about what is going on.
    """
    error_console().print(printable(text), markup=False, style=style)


def warn(text: str) -> None:
    """
    Something that the user should know but that stops nothing.
    """
    console = error_console()
    console.print("[bold yellow]warning:[/] ", end="")
    console.print(printable(text), markup=False)


def show_json(document: Any) -> None:
    """
    A result for programs: one JSON document, ASCII only, so that no terminal can be upset.
    """
    click.echo(json.dumps(document, indent=2))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """
    A result for people. Without a terminal: columns separated by tabs, without headings.
    """
    console = output_console()
    if not console.is_terminal:
        for row in rows:
            click.echo("\t".join(printable(cell).replace("\t", " ") for cell in row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=sys.stdout, highlight=False).print(table)


def working(text: str) -> AbstractContextManager[object]:
    """
    Shows on a terminal that something is being done.
    """
    console = error_console()
    if not console.is_terminal:
        return nullcontext()
    return console.status(Text(printable(text)))


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


def gzip_size(contents: Iterable[bytes]) -> int:
    """
    How many bytes the contents take compressed.
    """
    return len(gzip.compress(b"".join(contents), compresslevel=6))


def when(moment: str | None) -> str:
    """
    A time stamp of the API in local time; what cannot be read is shown as it is.
    """
    if not moment:
        return "-"
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return parsed.astimezone().strftime("%Y-%m-%d %H:%M:%S")
