"""`wrkst alias`."""

from pathlib import Path

import click

from workerd_faas.cli.app import App, json_option, name_option, pass_app, target
from workerd_faas.cli.client.address import function_url
from workerd_faas.cli.commands.shares import resolve_version
from workerd_faas.cli.failure import usage
from workerd_faas.cli.terminal import note, say, show_json, show_table, when, working
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.names import check_alias


@click.group()
def alias() -> None:
    """
    Names for versions: ALIAS.FUNCTION.DOMAIN answers with the version it names.
    """


@alias.command(
    "list",
    epilog="""\b
Example:
  wrkst alias list --name shop""",
)
@name_option
@json_option
@pass_app
def list_aliases(
    app: App, name: str | None, config: Path | None, environment: str | None, as_json: bool
) -> None:
    """
    List the aliases of a function.
    """
    which = target(app, name, config, environment)
    with working("asking"):
        found = which.scripts.aliases(which.name)
    if as_json:
        show_json(found)
        return
    show_table(
        ("ALIAS", "VERSION", "MODIFIED", "URL"),
        (
            (
                str(each.get("name")),
                str(each.get("version_id")),
                when(each.get("modified_on")),
                str(each.get("url") or "-"),
            )
            for each in found
        ),
    )


@alias.command(
    "set",
    epilog="""\b
Examples:
  wrkst alias set staging 1a2b3c4d
  wrkst alias set pr-42 1a2b3c4d --name shop""",
)
@click.argument("alias_name", metavar="ALIAS")
@click.argument("version")
@name_option
@json_option
@pass_app
def set_alias(
    app: App,
    alias_name: str,
    version: str,
    name: str | None,
    config: Path | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """
    Let ALIAS name VERSION, whether or not it named another one before.
    """
    try:
        check_alias(alias_name)
    except Problem as problem:
        raise usage(problem.message) from None
    which = target(app, name, config, environment)
    with working("setting the alias"):
        version_id = resolve_version(which, version)
        result = which.scripts.set_alias(which.name, alias_name, version_id)
    if as_json:
        show_json(result)
        return
    note(f"{alias_name} names version {version_id} of {which.name}.")
    say(str(result.get("url") or function_url(app.settings.require_url(), which.name, alias_name)))


@alias.command(
    "delete",
    epilog="""\b
Example:
  wrkst alias delete staging""",
)
@click.argument("alias_name", metavar="ALIAS")
@name_option
@pass_app
def delete_alias(
    app: App, alias_name: str, name: str | None, config: Path | None, environment: str | None
) -> None:
    """
    Remove an alias; the version stays.
    """
    which = target(app, name, config, environment)
    with working("removing the alias"):
        which.scripts.delete_alias(which.name, alias_name)
    note(f"{which.name} has no alias {alias_name} any more.")
