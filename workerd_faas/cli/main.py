"""Entry point of `wrkst`."""

import sys

from workerd_faas.cli import interrupt


def main() -> int:
    """
    The console script.
    """
    interrupt.end_at_once()
    # Only now: what is imported takes longer than many a command.
    from workerd_faas.cli.root import run

    try:
        return run(sys.argv[1:])
    finally:
        interrupt.end_at_once()


if __name__ == "__main__":
    sys.exit(main())
