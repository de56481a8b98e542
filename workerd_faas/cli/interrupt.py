"""
Ctrl-C while there is nothing to clean up yet: the program ends at once, without a traceback.

Importing takes some tenths of a second. An exception that is raised in the middle of it comes out
as whatever the module that was being imported makes of it. This module imports next to nothing.
"""

import os
import signal

_INTERRUPTED = 130


def end_at_once() -> None:
    """
    From now on SIGINT ends the process with status 130; where it is ignored it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """
    From now on SIGINT is a KeyboardInterrupt, as Python has it.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(_INTERRUPTED)
