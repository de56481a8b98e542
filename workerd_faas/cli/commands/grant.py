"""`wrkst grant`: which other accounts' functions may call one of ours."""

from typing import Any

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.client.scripts import ScriptsApi
from workerd_faas.cli.terminal import note, show_json, show_table, when, working


def _path(scripts: ScriptsApi, function: str, *rest: str) -> tuple[str, ...]:
    account = scripts.account.id
    return ("accounts", account, "workers", "scripts", function, "grants", *rest)


@click.group()
def grant() -> None:
    """
    Grants: functions of other accounts that may call one of yours by a service binding.
    """


@grant.command(
    "add",
    epilog="""\b
Examples:
  wrkst grant add shop 0123456789abcdef0123456789abcdef
  wrkst whoami      (shows an account's id to those who belong to it)""",
)
@click.argument("function")
@click.argument("grantee", metavar="ACCOUNT")
@json_option
@pass_app
def add_grant(app: App, function: str, grantee: str, as_json: bool) -> None:
    """
    Let the functions of ACCOUNT (an id) call FUNCTION, from now on.
    """
    scripts = app.scripts()
    with working("granting"):
        made = scripts.api.call("PUT", *_path(scripts, function, grantee), repeatable=True)
    if as_json:
        show_json(made)
        return
    note(f"Functions of {grantee} may call {function}.")


@grant.command(
    "list",
    epilog="""\b
Example:
  wrkst grant list shop""",
)
@click.argument("function")
@json_option
@pass_app
def list_grants(app: App, function: str, as_json: bool) -> None:
    """
    List the accounts that FUNCTION is granted to.
    """
    scripts = app.scripts()
    with working("asking"):
        found: list[dict[str, Any]] = scripts.api.get(*_path(scripts, function))
    if as_json:
        show_json(found)
        return
    show_table(
        ("ACCOUNT", "GRANTED", "BY"),
        (
            (
                str(each.get("account_id")),
                when(each.get("created_on")),
                str(each.get("author_email") or "-"),
            )
            for each in found
        ),
    )


@grant.command(
    "remove",
    epilog="""\b
Example:
  wrkst grant remove shop 0123456789abcdef0123456789abcdef""",
)
@click.argument("function")
@click.argument("grantee", metavar="ACCOUNT")
@pass_app
def remove_grant(app: App, function: str, grantee: str) -> None:
    """
    Let them call FUNCTION no more: no call that begins later reaches it.
    """
    scripts = app.scripts()
    with working("revoking"):
        scripts.api.call("DELETE", *_path(scripts, function, grantee))
    note(f"Functions of {grantee} may not call {function} any more.")
