"""Entry point of `workerd-faas`: the operator's command, on the machine itself."""

import sys

from workerd_faas.cli import interrupt


def main() -> int:
    """
    The console script.
    """
    interrupt.end_at_once()
    # Only now: what is imported takes longer than many a command.
    from workerd_faas.cli.running import run_command
    from workerd_faas.operator.root import operate

    try:
        return run_command(operate, sys.argv[1:], "workerd-faas")
    finally:
        interrupt.end_at_once()
