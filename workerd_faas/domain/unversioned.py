"""
What is said of a function beside its versions and changes nothing of how it runs here: it is kept
for those who said it, to be read back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

NOT_OBSERVED: Final[Mapping[str, Any]] = {"enabled": False}
"""What Cloudflare says of a function of which nothing has been said."""


@attrs.frozen(kw_only=True)
class Unversioned:
    """
    Attributes:
        tags: Wrangler's are `cf:service=…` and `cf:environment=…`, by which it knows the functions
            of one configuration.
        observability: As it was sent.
    """

    tags: Sequence[str] = ()
    observability: Mapping[str, Any] = NOT_OBSERVED


@attrs.frozen(kw_only=True)
class UnversionedChange:
    """
    What of it shall be otherwise. None: stays as it is.
    """

    tags: Sequence[str] | None = None
    observability: Mapping[str, Any] | None = None

    def applied(self, to: Unversioned) -> Unversioned:
        """
        What there is after the change.
        """
        return Unversioned(
            tags=to.tags if self.tags is None else self.tags,
            observability=to.observability if self.observability is None else self.observability,
        )


NO_CHANGE: Final = UnversionedChange()
