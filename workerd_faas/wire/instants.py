"""
How `workerd-faas backup` asks the daemon for an instant of an account's state.

Lines over a unix socket; `OPERATOR_LINK` in `DATA_DIR` leads to it.

    hold <account> <seconds>    the account's process is stopped, and none is started: `held`
    release                     it goes on: `whole`, or `late` when the seconds were over before

Anything that cannot be done is answered `refused <why>`. The end of the connection releases.
"""

import re
from typing import Final

OPERATOR_LINK: Final = "operator"
"""In `DATA_DIR`: a symbolic link, since a unix socket's path must be short."""

MAX_SECONDS: Final = 20.0
"""Of a hold. A state cell that says nothing for longer than 30 s is taken for hung."""

HELD: Final = "held"
WHOLE: Final = "whole"
LATE: Final = "late"
REFUSED: Final = "refused "
RELEASE: Final = "release"

_HOLD: Final = re.compile(r"hold ([0-9a-f]{32}) ([0-9]{1,2}(?:\.[0-9]{1,3})?)")


def hold_line(account_id: str, seconds: float) -> str:
    """
    The line that asks for a hold.
    """
    return f"hold {account_id} {seconds:.1f}"


def parse_hold(line: str) -> tuple[str, float] | None:
    """
    Account and seconds, `MAX_SECONDS` at most; None when it is no such line.
    """
    match = _HOLD.fullmatch(line)
    return None if match is None else (match[1], min(MAX_SECONDS, float(match[2])))
