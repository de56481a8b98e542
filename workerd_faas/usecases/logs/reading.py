"""The log that is kept, as people should see it."""

import attrs

from workerd_faas.domain.log_query import Kept, LogPage, LogQuery
from workerd_faas.usecases.logs.stacks import Stacks
from workerd_faas.usecases.ports import LogStore


@attrs.frozen(kw_only=True)
class LogReader:
    """
    Pages of the log, with stack traces in the user's own files.
    """

    store: LogStore
    stacks: Stacks

    async def read(self, query: LogQuery) -> LogPage:
        """
        One page. Whoever asks is known to have access to the account.

        Raises:
            Problem: `UNAVAILABLE`.
        """
        page = await self.store.query(query)
        kept = []
        for each in page.kept:
            document = await self.stacks.shown(each.invocation)
            kept.append(Kept(each.number, attrs.evolve(each.invocation, document=document)))
        return LogPage(tuple(kept), page.cursor)
