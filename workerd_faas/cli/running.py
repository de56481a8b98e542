"""Running a command line, and how it ends."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from workerd_faas.cli.failure import Exit, Failure
from workerd_faas.cli.terminal import labelled


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
        _misplaced(command, error, name)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`wrkst list | head`): nothing is left to say.
        _write_no_more()
        return Exit.REFUSED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        _write_no_more()
        labelled("error:", "red", f"The output cannot be written: {error.strerror}.")
        return Exit.REFUSED
    return ended if isinstance(ended, int) else Exit.OK


def _write_no_more() -> None:
    """
    Let what is still in the buffer of standard output go nowhere.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _misplaced(command: click.Command, error: click.ClickException, name: str) -> None:
    """
    Say where an option belongs that was given to a command but is one of the program's.
    """
    if not isinstance(error, click.NoSuchOption) or error.ctx is None or error.ctx.parent is None:
        return
    if any(error.option_name in option.opts for option in command.params):
        words = error.ctx.command_path.removeprefix(name).strip()
        labelled(
            "next:", "cyan", f"it goes before the command: {name} {error.option_name} … {words}"
        )
