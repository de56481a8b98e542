"""The log of functions: what they said, who watches, where it is kept."""

from workerd_faas.assembly.ground import Ground
from workerd_faas.store.logs import SQLLogs
from workerd_faas.usecases.logs.journal import FunctionLog
from workerd_faas.usecases.logs.stacks import Stacks
from workerd_faas.usecases.logs.tails import Tails


class LogParts:
    """
    Attributes:
        store: What is kept.
        stacks: Shows stacks in the user's own files.
        tails: Those who watch.
        events: Takes all that cells report.
    """

    def __init__(self, ground: Ground) -> None:
        settings = ground.settings
        self.store = SQLLogs(
            reactor=ground.reactor,
            path=ground.data.logs,
            clock=ground.clock,
            keep_seconds=settings.function_log_time,
            keep_bytes=settings.function_log_size,
        )
        self.stacks = Stacks(
            catalog=ground.catalog, bundles=ground.bundles, in_thread=ground.in_thread
        )
        self.tails = Tails(reactor=ground.reactor, clock=ground.clock, shown=self.stacks.shown)
        self.events = FunctionLog(
            reactor=ground.reactor,
            clock=ground.clock,
            tails=self.tails,
            store=self.store,
            echo=settings.dev,
        )
        self.store.lost = lambda route, count: self.events.lost(route, count, 0)
