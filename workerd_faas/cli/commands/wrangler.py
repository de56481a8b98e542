"""`wrkst wrangler`: the project's own Wrangler, pointed at our server."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from workerd_faas.cli.app import App
from workerd_faas.cli.bundle.wrangler import NOT_INSTALLED, find_wrangler, require_wrangler
from workerd_faas.cli.failure import Failure

_FOREIGN: Final = frozenset(
    {
        "CF_ACCOUNT_ID", "CF_API_BASE_URL", "CF_API_KEY", "CF_API_TOKEN", "CF_EMAIL",
        "CLOUDFLARE_API_KEY", "CLOUDFLARE_COMPLIANCE_REGION", "CLOUDFLARE_EMAIL",
        "WRANGLER_API_ENVIRONMENT", "WRKST_TOKEN",
    }
)  # fmt: skip
"""Would send Wrangler elsewhere, as somebody else, or are not its business."""

_HELP: Final = ((), ("--help",), ("-h",))
"""Asks for Wrangler's help; without a Wrangler there is ours."""


def pointed(environ: Mapping[str, str], url: str, token: str, account: str) -> dict[str, str]:
    """
    The environment in which Wrangler talks to this server and to no other.

    Args:
        url: The server, without a trailing slash.
        account: The account's id.
    """
    return {
        **{name: value for name, value in environ.items() if name not in _FOREIGN},
        "CLOUDFLARE_API_BASE_URL": f"{url}/client/v4",
        "CLOUDFLARE_API_TOKEN": token,
        "CLOUDFLARE_ACCOUNT_ID": account,
        "WRANGLER_AUTH_DOMAIN": url.partition("://")[2],
        "WRANGLER_AUTH_URL": f"{url}/oauth2/auth",
        "WRANGLER_TOKEN_URL": f"{url}/oauth2/token",
        "WRANGLER_REVOKE_URL": f"{url}/oauth2/revoke",
        "WRANGLER_SEND_METRICS": "false",
    }


@click.command(
    "wrangler",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    epilog="""\b
Examples:
  wrkst wrangler -- kv namespace create sessions
  wrkst wrangler -- d1 execute shop --remote --command "SELECT 1"
  wrkst wrangler -- tail""",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run_wrangler(context: click.Context, arguments: tuple[str, ...]) -> int:
    """
    Run the project's own Wrangler against this server.

    It is found in the node_modules of the working directory or above, and gets the address of the
    server, your login and your account in its environment. Its exit status is ours.
    """
    app: App = context.obj
    if arguments in _HELP and find_wrangler(Path.cwd(), app.environ) == NOT_INSTALLED:
        click.echo(context.get_help())
        return 0
    found = require_wrangler(Path.cwd(), app.environ)
    environment = pointed(
        app.environ,
        app.settings.require_url(),
        app.api.authorization.token(),
        app.scripts().account.id,
    )
    try:
        done = subprocess.run(
            [found.node, os.fspath(found.script), *arguments], env=environment, check=False
        )
    except OSError as error:
        raise Failure(f"{found.node} does not run: {error.strerror}") from None
    # Ended by a signal: as shells say it.
    return done.returncode if done.returncode >= 0 else 128 - done.returncode
