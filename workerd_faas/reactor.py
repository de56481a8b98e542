"""
The reactor of the daemon: Twisted's asyncio reactor over uvloop, with monotonic timers.

uvloop, because the relay's protocols run on it at less than half the CPU of Twisted's own
transports (see docs/relay.md); it is well kept and drives many asyncio servers.
"""

import asyncio
import sys
import time
from typing import Any

import uvloop


class WrongReactor(RuntimeError):
    """
    Another reactor was chosen before ours could be.
    """


def install() -> Any:
    """
    Install the reactor if none is there yet, and return it. Idempotent.

    Raises:
        WrongReactor: another one is installed already (`twistd --reactor …`).
    """
    from twisted.internet import asyncioreactor

    if "twisted.internet.reactor" not in sys.modules:
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
    from twisted.internet import reactor  # noqa: TID251

    if not isinstance(reactor, asyncioreactor.AsyncioSelectorReactor):
        raise WrongReactor(
            f"workerd-faas runs on the asyncio reactor, not on {type(reactor).__name__}: "
            "leave --reactor out."
        )
    # Twisted's timers follow the wall clock by default: a clock that is set back would stop every
    # time-out of the daemon (https://github.com/twisted/twisted/issues/2424).
    reactor.seconds = time.monotonic
    return reactor
