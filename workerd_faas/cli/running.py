"""Running a command line, and how it ends."""

import os
import sys
from collections.abc import Sequence

import click

from workerd_faas.cli.failure import Exit, Failure


def run_command(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """
    Run a command line of the program `name`; returns the exit status.
    """
    try:
        ended = command.main(list(arguments), prog_name=name, standalone_mode=False)
    except Failure as failure:
        failure.show()
        return failure.exit_status
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`wrkst list | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.REFUSED
    return ended if isinstance(ended, int) else Exit.OK
