"""Whose function a request is about."""

import attrs

from workerd_faas.domain.model import Principal


@attrs.frozen(kw_only=True)
class Target:
    """
    Whose function a request is about.
    """

    principal: Principal
    account_id: str
    function: str
