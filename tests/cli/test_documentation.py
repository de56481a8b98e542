"""docs/wrkst.md says what the program does."""

import re
from collections.abc import Iterator, Mapping

import click
import pytest

from tests.cli.support import ROOT
from workerd_faas.cli.bundle.binary import MINIMUM
from workerd_faas.cli.config.keys import PASSED_ON, REFUSED, SUPPORTED, TOP_LEVEL_ONLY
from workerd_faas.cli.config.project import DEFAULT_DATE
from workerd_faas.cli.failure import Exit
from workerd_faas.cli.root import cli

TEXT = (ROOT / "docs/wrkst.md").read_text()


def commands(command: click.Command, words: str) -> Iterator[str]:
    """
    All commands below one, as they are typed.
    """
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from commands(each, f"{words} {name}")
    else:
        yield words


def test_the_table_has_every_command() -> None:
    """
    The table of commands has those that there are and no others.
    """
    table = TEXT.partition("## Commands")[2].partition("\n\n")[2].partition("\n\n")[0]
    told = set(re.findall(r"^\| `(wrkst(?: [a-z0-9-]+)+)", table, re.MULTILINE))
    assert told == set(commands(cli, "wrkst"))


def test_the_table_has_every_exit_status() -> None:
    """
    The table of exit statuses has those that there are and no others.
    """
    table = TEXT.partition("## Exit status")[2].partition("## ")[0]
    assert {int(n) for n in re.findall(r"^\| (\d+) ", table, re.MULTILINE)} == set(Exit)


def test_every_supported_key_is_told() -> None:
    """
    The keys that we take from the configuration are all named.
    """
    (line,) = (line for line in TEXT.splitlines() if line.startswith("Supported: "))
    told = {key.partition(".")[0] for key in re.findall(r"`([a-z_.]+)`", line)}
    assert told == SUPPORTED | TOP_LEVEL_ONLY | {"vars", "define", "tail_consumers", "queues"}


@pytest.mark.parametrize(("begin", "keys"), [("Sent ", PASSED_ON), ("Refused", REFUSED)])
def test_other_keys_are_told(begin: str, keys: Mapping[str, object]) -> None:
    """
    The keys that are passed on, and those that are refused here, are all named.
    """
    (line,) = (line for line in TEXT.splitlines() if line.startswith(begin) and "key" in line)
    assert set(re.findall(r"`([a-z_]+)`", line)) == keys.keys()


def test_versions_and_dates() -> None:
    """
    The oldest esbuild and the proposed date are the ones in the code.
    """
    assert f"version {'.'.join(map(str, MINIMUM))} or later" in TEXT
    assert DEFAULT_DATE in TEXT
