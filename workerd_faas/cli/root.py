"""The commands of `wrkst`, and how running one ends."""

from collections.abc import Sequence
from typing import Final

import click

from workerd_faas.cli import interrupt
from workerd_faas.cli.app import App
from workerd_faas.cli.lazy import LazyCommands
from workerd_faas.cli.running import run_command

_COMMANDS: Final = {
    "alias": "workerd_faas.cli.commands.alias:alias",
    "cell": "workerd_faas.cli.commands.cell:cell",
    "check": "workerd_faas.cli.commands.check:check",
    "config": "workerd_faas.cli.commands.config:config",
    # Where the last of its commands are.
    "d1": "workerd_faas.cli.commands.d1_migrations:d1",
    "delete": "workerd_faas.cli.commands.functions:delete",
    "deploy": "workerd_faas.cli.commands.deploy:deploy",
    "deployments": "workerd_faas.cli.commands.deployments:deployments",
    "grant": "workerd_faas.cli.commands.grant:grant",
    "hyperdrive": "workerd_faas.cli.commands.hyperdrive:hyperdrive",
    "init": "workerd_faas.cli.commands.init:init",
    "kv": "workerd_faas.cli.commands.kv_bulk:kv",
    "list": "workerd_faas.cli.commands.functions:list_functions",
    "login": "workerd_faas.cli.commands.login:login",
    "logout": "workerd_faas.cli.commands.login:logout",
    "logs": "workerd_faas.cli.commands.logs:logs",
    "open": "workerd_faas.cli.commands.functions:open_function",
    "quarantine": "workerd_faas.cli.commands.status:quarantine",
    "queues": "workerd_faas.cli.commands.queues:queues",
    "rollback": "workerd_faas.cli.commands.deployments:rollback",
    "secret": "workerd_faas.cli.commands.secret:secret",
    "sessions": "workerd_faas.cli.commands.access:sessions",
    "status": "workerd_faas.cli.commands.status:status",
    "tail": "workerd_faas.cli.commands.logs:tail",
    "token": "workerd_faas.cli.commands.access:token",
    "triggers": "workerd_faas.cli.commands.triggers:triggers",
    "versions": "workerd_faas.cli.commands.versions:versions",
    "whoami": "workerd_faas.cli.commands.login:whoami",
    "wrangler": "workerd_faas.cli.commands.wrangler:run_wrangler",
}
"""Where each command is."""

_EPILOG = """\b
First steps:
  wrkst config set-url http://localhost:8080
  wrkst login
  wrkst init hello && cd hello && wrkst deploy

\b
Environment:
  WRKST_URL      the server, instead of `config set-url`
  WRKST_TOKEN    an API token, instead of `login`
  WRKST_ACCOUNT  the account, if you belong to several
  NO_COLOR       no colours

\b
Exit status: 0 done, 1 the server refused or failed, 2 wrong usage, 3 not logged in,
4 the project is wrong or does not build, 5 the server cannot be reached, 130 interrupted."""


@click.group(
    commands=LazyCommands(_COMMANDS),
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--url", metavar="URL", help="The server, for this command only.")
@click.option("--account", metavar="ID", help="The account to act for: its id or name.")
@click.version_option(
    None, "--version", "-v", package_name="workerd-faas", message="%(prog)s %(version)s"
)
@click.pass_context
def cli(context: click.Context, url: str | None, account: str | None) -> None:
    """
    Deploy functions to a workerd-faas server.
    """
    interrupt.raise_again()
    context.obj = App(url=url, account_choice=account)


def run(arguments: Sequence[str]) -> int:
    """
    Run a command line; returns the exit status.
    """
    return run_command(cli, arguments, "wrkst")
