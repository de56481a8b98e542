"""`workerd-faas reload` and `upgrade`: what a running daemon does on a signal, with its outcome."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from workerd_faas.directories import DataDirectory
from workerd_faas.operator.options import with_settings
from workerd_faas.settings.model import Settings
from workerd_faas.store.lock import DirectoryLock

_PATIENCE: Final = 300.0
"""Seconds for a hand-over: all that it waits for is bounded and comes to less."""

_POLL: Final = 0.05


def running_daemon(directory: Path) -> int:
    """
    The process that has the data directory.

    Raises:
        ClickException: there is none.
    """
    try:
        holder = DirectoryLock(directory).holder()
    except OSError as error:
        raise click.ClickException(f"{directory}: {error.strerror}") from error
    if holder is None:
        raise click.ClickException(f"no daemon runs on {directory}")
    return holder


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except PermissionError as error:
        raise click.ClickException(
            f"process {pid} is another user's: run this as the daemon's user"
        ) from error


@click.command(
    epilog="""\b
Example:
  workerd-faas reload --env-file /etc/workerd-faas/env"""
)
@with_settings
def reload(settings: Settings) -> None:
    """
    Let the running daemon read certificates and some settings again and replace all its cells.

    No request fails. The same as SIGHUP, and as `systemctl reload`. What was read again, and which
    settings take more than that, is in the daemon's log.
    """
    pid = running_daemon(settings.data_dir)
    _signal(pid, signal.SIGHUP)
    click.echo(f"process {pid} reloads; its log says what was read again")


@click.command(
    epilog="""\b
Example:
  git pull && make setup && workerd-faas upgrade --env-file /etc/workerd-faas/env"""
)
@with_settings
def upgrade(settings: Settings) -> None:
    """
    Replace the running daemon by a new one, with the code and the settings that are there now.

    No request fails: the new daemon prepares, the old one hands its sockets over and finishes what
    it has. If the new one does not come up, the old one serves on and this exits with 1. The same
    as SIGUSR2.
    """
    pid = running_daemon(settings.data_dir)
    note = DataDirectory(settings.data_dir).upgrade
    with suppress(FileNotFoundError):
        note.unlink()
    _signal(pid, signal.SIGUSR2)
    click.echo(f"process {pid} hands over")
    told = _outcome(note, pid)
    if told["state"] != "done":
        raise click.ClickException(str(told.get("reason", "the hand-over failed")))
    click.echo(f"process {told['process']} serves; {pid} ends when it has finished what it has")


def _outcome(note: Path, pid: int) -> dict[str, Any]:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with suppress(FileNotFoundError, ValueError):
            told: dict[str, Any] = json.loads(note.read_text("utf-8"))
            if told.get("by") == pid and told.get("state") != "preparing":
                return told
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            raise click.ClickException(f"process {pid} has ended: see its log") from None
        time.sleep(_POLL)
    raise click.ClickException(f"process {pid} says nothing: see its log")
