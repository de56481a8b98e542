"""`wrkst check`."""

import os
import subprocess
from pathlib import Path

import click

from workerd_faas.cli.app import App, pass_app
from workerd_faas.cli.bundle.wrangler import require_wrangler
from workerd_faas.cli.failure import Failure


@click.group()
def check() -> None:
    """
    Look at the project without a server.
    """


@check.command(
    "startup",
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Example:
  wrkst check startup --outfile worker-startup.cpuprofile""",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_app
def startup(app: App, arguments: tuple[str, ...]) -> int:
    """
    Profile the start of the function, by the project's own Wrangler and on this machine.

    How long the start takes on the server is told by each deploy and `versions upload`.
    """
    found = require_wrangler(Path.cwd(), app.environ)
    environment = {
        name: value for name, value in app.environ.items() if not name.startswith("WRKST_")
    }
    environment["WRANGLER_SEND_METRICS"] = "false"
    try:
        done = subprocess.run(
            [found.node, os.fspath(found.script), "check", "startup", *arguments],
            env=environment,
            check=False,
        )
    except OSError as error:
        raise Failure(f"{found.node} does not run: {error.strerror}") from None
    return done.returncode if done.returncode >= 0 else 128 - done.returncode
