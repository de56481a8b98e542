"""`workerd-faas backup`."""

import gzip
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

import click

from workerd_faas.directories import DataDirectory
from workerd_faas.operator.backup.archive import ArchiveWriter
from workerd_faas.operator.backup.instants import Holds
from workerd_faas.operator.backup.making import Backup, Report
from workerd_faas.operator.backup.progress import Progress, human
from workerd_faas.operator.backup.shared import told
from workerd_faas.operator.backup.staging import Staging
from workerd_faas.operator.options import source_options
from workerd_faas.operator.partial import data_directory
from workerd_faas.store.durable import sync_directory

_PIPE: Final = "-"
_GZIP_LEVEL: Final = 3
_SOME_DAMAGED: Final = 3


@contextmanager
def _written(target: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """
    A file that is there whole and durable at the end, or not at all.
    """
    if target.exists() and not overwrite:
        raise click.ClickException(f"{target} is there already: name another, or --overwrite it")
    temporary = target.with_name(f".{target.name[:200]}.{os.urandom(4).hex()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        # Nobody has heard of the temporary file.
        raise click.ClickException(f"{target} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            if target.suffix == ".gz":
                with gzip.GzipFile("", "wb", _GZIP_LEVEL, file) as compressed:
                    yield cast(BinaryIO, compressed)
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
        sync_directory(target.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _target(given: str) -> Path:
    path = Path(given).absolute()
    if path.is_dir():
        return path / f"workerd-faas-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar"
    return path


@click.command()
@source_options
@click.argument("target", metavar="FILE|DIRECTORY|-")
@click.option("--logs", is_flag=True, help="With the log of functions.")
@click.option(
    "--with-keys",
    is_flag=True,
    help="With the key of secrets, and whatever else the daemon made up for itself in DATA_DIR.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backup(
    dev: bool,
    env_file: str | None,
    target: str,
    logs: bool,
    with_keys: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """
    Copy everything that is kept into one file, while the daemon runs.

    That is: functions with all versions, accounts, logins and tokens, files of sites, KV
    namespaces, D1 databases and queues. The catalog is of the instant at which this begins, the
    state of each account of one instant after it, for which its storage stands still for some
    milliseconds; no request fails. What was acknowledged before this began is in it.

    FILE is a tar file, compressed if its name ends with .gz; in a DIRECTORY it gets a name with the
    time; - writes it to standard output. It appears when it is whole and on the disk. Only you can
    read it, and only those who may read everything should: users' data are in it as they are.

    Secrets of functions are in it encrypted. Their key is NOT, unless you say --with-keys: without
    it they are lost, so keep it too, apart from this.

    \b
      workerd-faas backup /backup
      workerd-faas backup - | age -r KEY | ssh elsewhere 'cat > faas.tar.age'
      workerd-faas restore --check /backup/workerd-faas-20261124T010000Z.tar

    Exits with 0; with 1 when there is no backup; with 3 when there is one that lacks what was
    damaged or missing in DATA_DIR already.
    """
    data = DataDirectory(data_directory(dev, env_file))
    if not data.database.exists():
        raise click.ClickException(f"there is nothing in {data.path} to back up")
    began = time.monotonic()
    progress = Progress("backup")
    with told(), ExitStack() as stack:
        stack.callback(progress.end)
        file: IO[bytes]
        if target == _PIPE:
            if sys.stdout.isatty() or as_json:
                raise click.UsageError("the backup would go to the terminal: name a file")
            file, path = sys.stdout.buffer, None
        else:
            path = _target(target)
            file = stack.enter_context(_written(path, overwrite))
        writer = ArchiveWriter(cast(BinaryIO, file), progress.wrote)
        with Staging(data.path) as staging, Holds(data) as holds:
            report = Backup(
                data=data,
                staging=staging,
                holds=holds,
                writer=writer,
                progress=progress,
                logs=logs,
                keys=with_keys,
            ).make()
        file.flush()
    _say_made(report, writer, path, time.monotonic() - began, as_json)
    if report.damaged:
        raise SystemExit(_SOME_DAMAGED)


def _say_made(
    report: Report, writer: ArchiveWriter, path: Path | None, seconds: float, as_json: bool
) -> None:
    if as_json:
        document = {
            "file": str(path),
            "files": writer.files,
            "bytes": writer.bytes,
            "accounts_with_state": report.accounts,
            "secrets": report.secrets,
            "keys": report.keys,
            "daemon_running": report.running,
            "longest_hold_ms": round(report.longest_hold * 1000, 1),
            "seconds": round(seconds, 3),
            "damaged": report.damaged,
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(
        f"{path or 'Written'}: {writer.files} files, {human(writer.bytes)}, "
        f"state of {report.accounts} accounts, each held for "
        f"{report.longest_hold * 1000:.0f} ms at most; {seconds:.1f} s",
        err=path is None,
    )
    if report.secrets and not report.keys:
        click.echo(
            f"The key of its {report.secrets} secrets of functions is not in it: keep it as well.",
            err=True,
        )
    for name in report.damaged:
        click.echo(f"Missing or damaged, and so not in it: {name}", err=True)
