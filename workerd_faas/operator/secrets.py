"""
`workerd-faas secrets`: the keys that secrets of functions are encrypted with.

The command opens the database of `DATA_DIR` directly, so it works whether the daemon runs or not.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from workerd_faas.domain.errors import Problem
from workerd_faas.operator.options import source_options
from workerd_faas.operator.partial import become_owner, data_directory, single
from workerd_faas.store import keyfile
from workerd_faas.store.database import FILE_NAME, DatabaseUnusable, connect
from workerd_faas.store.rotation import Rotated
from workerd_faas.store.rotation import rotate as rotate_all
from workerd_faas.store.vault import FernetVault


@click.group()
def secrets() -> None:
    """
    Look after the keys that secrets of functions are encrypted with.
    """


@secrets.command(
    "new-key",
    epilog="""\b
Example:
  workerd-faas secrets new-key > /etc/workerd-faas/secrets-key""",
)
def new_key() -> None:
    """
    Print a new key, for SECRETS_KEY or the file that SECRETS_KEY_FILE names.
    """
    click.echo(keyfile.new_key())


@secrets.command(
    epilog="""\b
Examples:
  workerd-faas secrets rotate --new-key
  workerd-faas secrets rotate --forget-old"""
)
@source_options
@click.option(
    "--new-key",
    "with_new_key",
    is_flag=True,
    help="First put a new key before those in DATA_DIR, which the daemon then uses at once.",
)
@click.option(
    "--forget-old",
    is_flag=True,
    help="At last take all keys but the first out of DATA_DIR.",
)
def rotate(dev: bool, env_file: str | None, with_new_key: bool, forget_old: bool) -> None:
    """
    Encrypt all secrets anew with the first key.

    With a SECRETS_KEY of your own: put the new key before the old one, restart the daemon, run
    this, take the old key away, restart the daemon. With the key that the daemon made in DATA_DIR:
    run this with --new-key, and later with --forget-old.
    """
    directory = data_directory(dev, env_file)
    given: tuple[str, ...] | None = single("SECRETS_KEY", dev, env_file)
    if given and (with_new_key or forget_old):
        raise click.UsageError(
            "SECRETS_KEY is given: its keys are yours to change. Put a new one before the others, "
            "separated by a comma, and run this without options."
        )
    try:
        become_owner(directory)
        done = _rotated(directory, given, with_new_key, forget_old)
    except OSError as error:
        raise click.ClickException(f"DATA_DIR {directory}: {error.strerror}") from error
    except (DatabaseUnusable, keyfile.KeyFileUnusable) as error:
        raise click.ClickException(str(error)) from error
    except Problem as problem:
        raise click.ClickException(problem.message) from problem
    click.echo(
        f"{done.renewed} secrets encrypted anew, {done.current} were under the first key already."
    )


def _rotated(
    directory: Path, given: tuple[str, ...] | None, with_new_key: bool, forget_old: bool
) -> Rotated:
    file = directory / keyfile.FILE_NAME
    if with_new_key:
        keyfile.write_keys(file, [keyfile.new_key(), *keyfile.read_keys(file)])
    keys: Sequence[str] = given or keyfile.read_keys(file)
    with closing(connect(directory / FILE_NAME)) as connection:
        done = rotate_all(connection, FernetVault(lambda: keys))
    if done.unreadable:
        raise click.ClickException(
            f"{done.unreadable} secrets are under none of these keys and stay as they are "
            f"({done.renewed} encrypted anew); no key was taken away. Find the key they need."
        )
    if forget_old:
        keyfile.write_keys(file, keys[:1])
    return done
