"""
`workerd-faas token`: API tokens made on the machine itself, without a login.

The command opens the database of `DATA_DIR` directly, so it works whether the daemon runs or not,
and needs no other setting.
"""

import json
from collections.abc import Callable, Coroutine
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

import attrs
import click

from workerd_faas.domain.errors import Problem
from workerd_faas.domain.identity import ApiToken
from workerd_faas.domain.model import timestamp
from workerd_faas.domain.permissions import SCOPES, read_permissions
from workerd_faas.operator.options import source_options
from workerd_faas.operator.partial import become_owner, chosen, data_directory
from workerd_faas.store.database import FILE_NAME, DatabaseUnusable, connect, transact
from workerd_faas.store.identity import SQLIdentity
from workerd_faas.usecases import ports
from workerd_faas.usecases.identity.machine_tokens import MachineTokens

T = TypeVar("T")


@attrs.frozen
class DirectDatabase:
    """
    `usecases.ports.Database` on the calling thread, for a process that has nothing else to do.
    """

    _connection: Connection

    async def run(self, work: Callable[[Any], T]) -> T:
        return transact(self._connection, work)


class SystemClock:
    """
    The machine's time of day.
    """

    def now(self) -> datetime:
        return datetime.now(UTC)


_check: type[ports.Database] = DirectDatabase
_check_clock: type[ports.WallClock] = SystemClock


def with_tokens(
    directory: Path,
    work: Callable[[MachineTokens], Coroutine[Any, Any, T]],
    *,
    make: bool = False,
) -> T:
    """
    Do `work` with the tokens in the database of `directory`.

    Args:
        directory: The daemon's.
        work: What to do.
        make: Whether to make the database if it is not there.

    Raises:
        click.ClickException: the database cannot be used, or `work` met a problem.
    """
    try:
        if not make and not (directory / FILE_NAME).exists():
            raise click.ClickException(
                f"There is no database in {directory}: is this the daemon's DATA_DIR? Say which "
                "one it is by DATA_DIR, --env-file or --dev, or start the daemon once."
            )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        become_owner(directory)
        with closing(connect(directory / FILE_NAME)) as connection:
            tokens = MachineTokens(
                store=SQLIdentity(DirectDatabase(connection)), clock=SystemClock()
            )
            return finished(work(tokens))
    except OSError as error:
        raise click.ClickException(f"DATA_DIR {directory}: {error.strerror}") from error
    except DatabaseUnusable as error:
        raise click.ClickException(str(error)) from error
    except Problem as problem:
        raise click.ClickException(problem.message) from problem


def finished(work: Coroutine[Any, Any, T]) -> T:
    """
    The outcome of a coroutine that has nothing to wait for.
    """
    try:
        work.send(None)
    except StopIteration as stop:
        outcome: T = stop.value
        return outcome
    raise RuntimeError("the database of this command never makes anybody wait")


@click.group()
def token() -> None:
    """
    Make, list and revoke API tokens, without a login.
    """


@token.command(
    epilog="""\b
Examples:
  workerd-faas token create --account ci
  workerd-faas token create --account ci --function shop --json"""
)
@source_options
@click.option(
    "--account",
    required=True,
    metavar="NAME",
    help="Name of an operator's account, made if it is new; or the id of any account.",
)
@click.option("--name", default="operator", show_default=True, help="What to call the token.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    metavar="SCOPE",
    help=f"What it may do; may be repeated. One of: {', '.join(SCOPES)}. By default everything.",
)
@click.option(
    "--function",
    "functions",
    multiple=True,
    metavar="NAME",
    help="It is for this function only; may be repeated. By default all of the account.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(
    dev: bool,
    env_file: str | None,
    account: str,
    name: str,
    scopes: tuple[str, ...],
    functions: tuple[str, ...],
    as_json: bool,
) -> None:
    """
    Make a token and print it, this once.
    """
    try:
        permissions = read_permissions(scopes or None, functions or None)
    except Problem as problem:
        raise click.UsageError(problem.message) from problem
    directory = data_directory(dev, env_file)
    new = with_tokens(
        directory,
        lambda tokens: tokens.create_as_operator(account, name, permissions),
        make=chosen("DATA_DIR", env_file),
    )
    if as_json:
        click.echo(json.dumps({"token": new.secret, **_described(new.token)}, indent=2))
        return
    click.echo(f"Token:       {new.secret}")
    click.echo(f"Account id:  {new.token.account.id}")
    click.echo(f"It is for the daemon of {directory}, and is not shown again.", err=True)


@token.command(
    "list",
    epilog="""\b
Example:
  workerd-faas token list""",
)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_tokens(dev: bool, env_file: str | None, as_json: bool) -> None:
    """
    List all tokens of all accounts.
    """
    found = with_tokens(data_directory(dev, env_file), lambda tokens: tokens.all())
    if as_json:
        click.echo(json.dumps([_described(each) for each in found], indent=2))
        return
    if not found:
        click.echo("There are no tokens.")
    for each in found:
        used = f"used {_day(each.last_used_at)}" if each.last_used_at else "never used"
        ends = f", expires {_day(each.expires_at)}" if each.expires_at else ""
        click.echo(
            f"{each.id}  {each.account.name}  {each.name}"
            f"  (made {_day(each.created_at)}, {used}{ends})"
        )


@token.command(
    epilog="""\b
Example:
  workerd-faas token revoke f771f4cdb3a37df4e0dc6f51cb2e1be4"""
)
@source_options
@click.argument("token_id", metavar="ID")
def revoke(dev: bool, env_file: str | None, token_id: str) -> None:
    """
    Revoke the token with this id, as `list` shows it.
    """
    with_tokens(data_directory(dev, env_file), lambda tokens: tokens.revoke_as_operator(token_id))
    click.echo(f"Token {token_id} is revoked.")


def _described(each: ApiToken) -> dict[str, Any]:
    functions = each.permissions.functions
    return {
        "id": each.id,
        "name": each.name,
        "account_id": each.account.id,
        "account": each.account.name,
        "created_on": timestamp(each.created_at),
        "last_used_on": timestamp(each.last_used_at) if each.last_used_at else None,
        "expires_on": timestamp(each.expires_at) if each.expires_at else None,
        "scopes": sorted(each.permissions.scopes),
        "functions": None if functions is None else sorted(functions),
    }


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
