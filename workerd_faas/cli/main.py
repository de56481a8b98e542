"""Entry point of `wrkst`."""

import os
import sys
from collections.abc import Sequence

import click

from workerd_faas.cli.app import App
from workerd_faas.cli.commands.access import sessions, token
from workerd_faas.cli.commands.alias import alias
from workerd_faas.cli.commands.check import check
from workerd_faas.cli.commands.config import config
from workerd_faas.cli.commands.deploy import deploy
from workerd_faas.cli.commands.deployments import deployments, rollback
from workerd_faas.cli.commands.functions import delete, list_functions, open_function
from workerd_faas.cli.commands.grant import grant
from workerd_faas.cli.commands.hyperdrive import hyperdrive
from workerd_faas.cli.commands.init import init
from workerd_faas.cli.commands.login import login, logout, whoami
from workerd_faas.cli.commands.logs import logs, tail
from workerd_faas.cli.commands.secret import secret
from workerd_faas.cli.commands.triggers import triggers
from workerd_faas.cli.commands.versions import versions
from workerd_faas.cli.commands.wrangler import run_wrangler
from workerd_faas.cli.failure import Exit, Failure
from workerd_faas.cli.terminal import error_console

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
    context.obj = App(url=url, account_choice=account)


for command in (
    alias,
    check,
    config,
    delete,
    deploy,
    deployments,
    grant,
    hyperdrive,
    init,
    list_functions,
    login,
    logout,
    logs,
    open_function,
    rollback,
    secret,
    sessions,
    tail,
    token,
    triggers,
    versions,
    whoami,
    run_wrangler,
):
    cli.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """
    Run a command line; returns the exit status.
    """
    try:
        ended = cli.main(list(arguments), prog_name="wrkst", standalone_mode=False)
    except Failure as failure:
        failure.show()
        return failure.exit_status
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        error_console().print("stopped")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`wrkst list | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.REFUSED
    return ended if isinstance(ended, int) else Exit.OK


def main() -> int:
    """
    The console script.
    """
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
