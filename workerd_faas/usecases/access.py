"""Who may act for which account."""

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Account, Principal


def account_for(principal: Principal, account_id: str) -> Account:
    """
    The principal's account of this id.

    Raises:
        Problem: `FORBIDDEN`, the same whether the account exists or not.
    """
    for account in principal.accounts:
        if account.id == account_id:
            return account
    raise Problem(
        kind=Kind.FORBIDDEN,
        message="Your login or token does not give access to this account.",
    )
