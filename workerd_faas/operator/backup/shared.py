"""What making and restoring a backup share: whose files they are, and how failures are told."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from workerd_faas.operator.backup.instants import NoInstant
from workerd_faas.operator.backup.making import Damaged
from workerd_faas.operator.backup.restoring import KeyMissing, NotEmpty
from workerd_faas.operator.backup.staging import Busy
from workerd_faas.store.keyfile import KeyFileUnusable
from workerd_faas.store.lock import AlreadyRunning


@contextmanager
def as_owner(directory: Path) -> Iterator[None]:
    """
    As root, be the directory's owner meanwhile: what is made there must be the daemon's.
    """
    owner = directory.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


@contextmanager
def told() -> Iterator[None]:
    """
    Failures as one line; SIGTERM ends the command as Ctrl-C does, with everything cleared away.
    """

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except sqlite3.Error as error:
        raise click.ClickException(f"a database cannot be copied: {error}") from error
    except (
        AlreadyRunning, Busy, Damaged, KeyFileUnusable, NoInstant,
        KeyMissing, NotEmpty, EOFError,
    ) as error:  # fmt: skip
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:
        raise click.ClickException("the reader of the backup has ended") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror}") from error
