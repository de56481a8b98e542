"""What can be asked of the log that is kept, and what the answer is."""

import attrs

from workerd_faas.domain.invocation import Invocation, Level


@attrs.frozen(kw_only=True)
class LogQuery:
    """
    Which invocations of an account; None: all. The newest come first.

    Attributes:
        version: The id of a version or the beginning of it.
        levels: Those with anything of one of these levels.
        text: Those with this text in a console line or exception; ASCII letters in any case.
        since: Those that began at this time or later, in milliseconds since 1970.
        until: Those that began before this time.
        before: Those that were reported before the one of this number: the cursor.
        limit: How many at most.
    """

    account_id: str
    function: str | None = None
    version: str | None = None
    levels: Level | None = None
    outcome: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None
    request_id: str | None = None
    before: int | None = None
    limit: int = 100


@attrs.frozen
class Kept:
    """
    An invocation in the log, with its number.
    """

    number: int
    invocation: Invocation


@attrs.frozen
class LogPage:
    """
    The answer.

    Attributes:
        cursor: For the next page: `LogQuery.before`. None: there is no more.
    """

    kept: tuple[Kept, ...]
    cursor: int | None
