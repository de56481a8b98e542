"""What the operator decides for single accounts: who shares a process, what functions reach."""

import enum
import ipaddress
from typing import Final

import attrs

from workerd_faas.domain.model import Account

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_NETWORKS: Final = 64
"""Of one policy."""

_PUBLIC: Final = "public"
_NONE: Final = "none"


class Isolation(enum.Enum):
    """
    Who shares a process.
    """

    ACCOUNT = "account"
    FUNCTION = "function"
    SHARED = "shared"


@attrs.frozen
class Reach:
    """
    What functions may reach: all public addresses or none of them, and networks besides.
    """

    public: bool = True
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Reach":
        """
        `none`; or `public` and address blocks, each optional, separated by spaces or commas.

        Raises:
            ValueError: it is something else; says what would be right.
        """
        words = text.replace(",", " ").split()
        if not words:
            raise ValueError("says nothing: use none, public, or address blocks")
        if _NONE in words:
            if len(words) > 1:
                raise ValueError("has none beside other words: none stands alone")
            return cls(public=False)
        networks = dict.fromkeys(_network(word) for word in words if word != _PUBLIC)
        if len(networks) > MOST_NETWORKS:
            raise ValueError(f"has more than {MOST_NETWORKS} address blocks")
        return cls(_PUBLIC in words, tuple(networks))

    def __str__(self) -> str:
        words = [*([_PUBLIC] if self.public else []), *map(str, self.networks)]
        return " ".join(words) or _NONE

    @property
    def nothing(self) -> bool:
        """
        Whether no address is reached at all.
        """
        return not self.public and not self.networks


def _network(word: str) -> Network:
    try:
        return ipaddress.ip_network(word)
    except ValueError:
        raise ValueError(
            f"{word[:80]!r} is neither public nor none nor an address block: use, for example, "
            "10.0.5.0/24, 2001:db8::/32 or 10.0.5.7 (no bits set behind the prefix); names of "
            "hosts are not taken, since an address may belong to many and they change"
        ) from None


@attrs.frozen(kw_only=True)
class AccountPolicy:
    """
    For one account; None: as the settings say for all.
    """

    isolation: Isolation | None = None
    egress: Reach | None = None

    @property
    def says_nothing(self) -> bool:
        """
        Whether it is the same as none.
        """
        return self.isolation is None and self.egress is None


NO_POLICY: Final = AccountPolicy()


@attrs.frozen(kw_only=True)
class Effective:
    """
    What holds for an account, with the settings and the policy together.

    Attributes:
        isolation: Who shares a process.
        egress: What its functions reach.
        own_isolation: Whether the first is its own policy's.
        own_egress: Whether the second is.
    """

    isolation: Isolation
    egress: Reach
    own_isolation: bool
    own_egress: bool


@attrs.frozen(kw_only=True)
class ForAll:
    """
    What holds for accounts without a policy.
    """

    isolation: Isolation = Isolation.ACCOUNT
    egress: Reach = attrs.Factory(Reach)

    def with_policy(self, policy: AccountPolicy) -> Effective:
        """
        What holds for an account with this policy. One that reaches other things than all do is
        never in the cell that all share, since what a cell reaches holds for all of it.
        """
        isolation = policy.isolation or self.isolation
        if isolation is Isolation.SHARED and policy.egress is not None:
            isolation = Isolation.ACCOUNT
        return Effective(
            isolation=isolation,
            egress=self.egress if policy.egress is None else policy.egress,
            own_isolation=policy.isolation is not None,
            own_egress=policy.egress is not None,
        )


@attrs.frozen(kw_only=True)
class KnownAccount:
    """
    An account as the operator sees it.

    Attributes:
        handle: What the operator called it; None: it is the account of a login.
        functions: How many it has.
    """

    account: Account
    handle: str | None
    functions: int
    policy: AccountPolicy
