"""
`workerd-faas account`: what holds for single accounts.

The command opens the database of `DATA_DIR` directly, so it works whether the daemon runs or not;
one that runs follows within two seconds.
"""

import json
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any, TypeVar

import attrs
import click

from workerd_faas.api.policies import shown
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.policies import AccountPolicy, ForAll, Isolation, KnownAccount, Reach
from workerd_faas.operator.options import source_options
from workerd_faas.operator.partial import become_owner, data_directory, single
from workerd_faas.operator.token import DirectDatabase, SystemClock, finished
from workerd_faas.store.database import FILE_NAME, DatabaseUnusable, connect
from workerd_faas.store.policies import SQLPolicies

T = TypeVar("T")

_LIKE_ALL = "default"


@click.group()
def account() -> None:
    """
    See accounts, and decide how theirs differ from what the settings say for all.
    """


@account.command(
    "list",
    epilog="""\b
Examples:
  workerd-faas account list
  workerd-faas account list --json""",
)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_accounts(dev: bool, env_file: str | None, as_json: bool) -> None:
    """
    List all accounts and what holds for them.
    """
    found = _with_store(dev, env_file, lambda store: store.accounts())
    for_all = _for_all(dev, env_file)
    if as_json:
        click.echo(json.dumps([_document(each, for_all) for each in found], indent=2))
        return
    if not found:
        click.echo("There are no accounts.")
    for each in found:
        effective = for_all.with_policy(each.policy)
        functions = "1 function" if each.functions == 1 else f"{each.functions} functions"
        click.echo(
            f"{each.account.id}  {each.account.name}  {functions}"
            f"  isolation {effective.isolation.value}{_star(effective.own_isolation)}"
            f"  egress {effective.egress}{_star(effective.own_egress)}"
        )
    if any(not each.policy.says_nothing for each in found):
        click.echo("* decided for this account")


@account.command(
    epilog="""\b
Example:
  workerd-faas account show ci"""
)
@source_options
@click.argument("name", metavar="ACCOUNT")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(dev: bool, env_file: str | None, name: str, as_json: bool) -> None:
    """
    Show one account, by its id or the name that the operator gave it.
    """
    found = _with_store(dev, env_file, lambda store: store.find(name))
    _show(found, _for_all(dev, env_file), as_json)


@account.command(
    "set",
    epilog="""\b
Examples:
  workerd-faas account set ci --isolation function
  workerd-faas account set ci --egress 10.0.5.0/24""",
)
@source_options
@click.argument("name", metavar="ACCOUNT")
@click.option(
    "--isolation",
    type=click.Choice([*(each.value for each in Isolation), _LIKE_ALL]),
    help="What shares a workerd process: the functions of the account, one function, or all "
    f"accounts that are shared; {_LIKE_ALL}: as ISOLATION says.",
)
@click.option(
    "--egress",
    metavar="REACH",
    help="What the account's functions may reach: public, none, or address blocks such as "
    f"'public 10.0.5.0/24', in the place of EGRESS_ALLOW; {_LIKE_ALL}: as EGRESS_ALLOW says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def set_policy(
    dev: bool,
    env_file: str | None,
    name: str,
    isolation: str | None,
    egress: str | None,
    as_json: bool,
) -> None:
    """
    Decide for one account. What is not named stays as it is.

    The daemon follows within two seconds: new requests run under the new policy, those in flight
    finish where they are, which takes 30 seconds at most.
    """
    if isolation is None and egress is None:
        raise click.UsageError("Name --isolation, --egress, or both.")
    changes: dict[str, Any] = {}
    if isolation is not None:
        changes["isolation"] = None if isolation == _LIKE_ALL else Isolation(isolation)
    if egress is not None:
        try:
            changes["egress"] = None if egress == _LIKE_ALL else Reach.parse(egress)
        except ValueError as error:
            raise click.UsageError(f"--egress {error}.") from error

    async def decide(store: SQLPolicies) -> KnownAccount:
        found = await store.find(name)
        policy: AccountPolicy = attrs.evolve(found.policy, **changes)
        await store.put(found.account.id, policy, SystemClock().now())
        return attrs.evolve(found, policy=policy)

    found = _with_store(dev, env_file, decide)
    _show(found, _for_all(dev, env_file), as_json)
    if found.policy.isolation is Isolation.SHARED and found.policy.egress is not None:
        click.echo(
            "An account that reaches other things than all do has cells of its own.", err=True
        )


def _for_all(dev: bool, env_file: str | None) -> ForAll:
    """
    What the settings say, as far as this command's environment has them.
    """
    return ForAll(
        isolation=Isolation(single("ISOLATION", dev, env_file)),
        egress=Reach(networks=single("EGRESS_ALLOW", dev, env_file) or ()),
    )


def _with_store(
    dev: bool, env_file: str | None, work: Callable[[SQLPolicies], Coroutine[Any, Any, T]]
) -> T:
    directory = data_directory(dev, env_file)
    try:
        if not (directory / FILE_NAME).exists():
            raise click.ClickException(f"DATA_DIR {directory} has no database yet.")
        become_owner(directory)
        with closing(connect(directory / FILE_NAME)) as connection:
            return finished(work(SQLPolicies(DirectDatabase(connection))))
    except OSError as error:
        raise click.ClickException(f"DATA_DIR {directory}: {error.strerror}") from error
    except DatabaseUnusable as error:
        raise click.ClickException(str(error)) from error
    except Problem as problem:
        raise click.ClickException(problem.message) from problem


def _star(own: bool) -> str:
    return "*" if own else ""


def _document(found: KnownAccount, for_all: ForAll) -> dict[str, Any]:
    return {
        "id": found.account.id,
        "name": found.account.name,
        "operators_name": found.handle,
        "functions": found.functions,
        **shown(for_all.with_policy(found.policy)),
    }


def _show(found: KnownAccount, for_all: ForAll, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_document(found, for_all), indent=2))
        return
    effective = for_all.with_policy(found.policy)
    click.echo(f"Account:    {found.account.name} ({found.account.id})")
    click.echo(f"Functions:  {found.functions}")
    for name, value, own in (
        ("Isolation", effective.isolation.value, effective.own_isolation),
        ("Egress", str(effective.egress), effective.own_egress),
    ):
        source = "decided for this account" if own else "as the settings say for all"
        click.echo(f"{name + ':':<11} {value} ({source})")
