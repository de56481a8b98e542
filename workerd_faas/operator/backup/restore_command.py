"""`workerd-faas restore`."""

import gzip
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

import click

from workerd_faas.directories import DataDirectory
from workerd_faas.operator.backup import restoring
from workerd_faas.operator.backup.archive import ArchiveReader
from workerd_faas.operator.backup.layout import Unacceptable
from workerd_faas.operator.backup.progress import Progress, human
from workerd_faas.operator.backup.shared import as_owner, told
from workerd_faas.operator.options import source_options
from workerd_faas.operator.partial import data_directory, single


@click.command()
@source_options
@click.argument("archive", metavar="FILE|-")
@click.option("--check", is_flag=True, help="Only read it, and see that it is whole.")
@click.option(
    "--without-key", is_flag=True, help="Even if secrets of functions are lost for want of a key."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def restore(
    dev: bool,
    env_file: str | None,
    archive: str,
    check: bool,
    without_key: bool,
    as_json: bool,
) -> None:
    """
    Put a backup into an empty DATA_DIR.

    Run it before the daemon is started, as the daemon's user (or as root, and the files will be
    the directory owner's) and with its settings. If the key of secrets is not in the backup, put
    the file secrets-key into DATA_DIR beforehand, or give SECRETS_KEY as the daemon has it.

    Everything is checked before anything is in its place: names, sizes, SHA-256 of each file, the
    catalog, and whether the key is the right one. A backup of an older release is brought up to
    date when the daemon starts.

    Do not start a second daemon on a copy while the first one still runs, except to look at it:
    both would run the cron triggers and deliver the messages.

    \b
      install -d -m 0700 -o workerd-faas /var/lib/workerd-faas
      workerd-faas restore /backup/workerd-faas-20261124T010000Z.tar
      systemctl start workerd-faas

    Exits with 0; with 1 when nothing was restored, or the backup is not whole.
    """
    began = time.monotonic()
    progress = Progress("check" if check else "restore")
    with told(), ExitStack() as stack:
        stack.callback(progress.end)
        reader = ArchiveReader(stack.enter_context(_opened(archive)))
        try:
            if check:
                contents = restoring.examine(reader, progress)
            else:
                contents = _restored(reader, dev, env_file, progress, without_key)
        except Unacceptable as error:
            raise click.ClickException(f"{archive}: {error}; nothing was restored") from error
    _say_restored(contents, check, time.monotonic() - began, as_json)


def _restored(
    reader: ArchiveReader, dev: bool, env_file: str | None, progress: Progress, without_key: bool
) -> restoring.Contents:
    data = DataDirectory(data_directory(dev, env_file))
    if not data.path.exists() and os.geteuid() == 0:
        raise click.ClickException(
            f"{data.path} is not there: make it, owned by the daemon's user "
            f"(install -d -m 0700 -o workerd-faas {data.path})"
        )
    data.make()
    keys: tuple[str, ...] | None = single("SECRETS_KEY", dev, env_file) or None
    with as_owner(data.path):
        return restoring.Restore(
            data=data,
            reader=reader,
            progress=progress,
            given_keys=keys,
            without_key=without_key,
        ).run()


@contextmanager
def _opened(archive: str) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        if archive == "-":
            plain: IO[bytes] = sys.stdin.buffer
        else:
            plain = stack.enter_context(Path(archive).open("rb"))
        start = plain.peek(2)  # type: ignore[attr-defined]
        if start.startswith(b"\x1f\x8b"):
            yield cast(IO[bytes], stack.enter_context(gzip.open(plain)))
        else:
            yield plain


def _say_restored(contents: restoring.Contents, check: bool, seconds: float, as_json: bool) -> None:
    made = contents.description
    if as_json:
        document = {
            "restored": not check,
            "made": made.get("made"),
            "release": made.get("release"),
            "files": contents.files,
            "bytes": contents.bytes,
            "accounts_with_state": len(contents.accounts),
            "keys": contents.keys,
            "secrets_lost": contents.unreadable,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(
        f"{'Whole' if check else 'Restored'}: the backup of {made.get('made')}, "
        f"{contents.files} files, {human(contents.bytes)}, state of {len(contents.accounts)} "
        f"accounts; {seconds:.1f} s"
    )
    if contents.unreadable:
        click.echo(f"{contents.unreadable} secrets of functions are lost: put them anew.", err=True)
