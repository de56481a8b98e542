"""Who makes a request, and whether this route is open to them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from twisted.web.iweb import IRequest
from werkzeug.exceptions import MethodNotAllowed

from workerd_faas.api.envelope import header
from workerd_faas.domain.model import Principal
from workerd_faas.domain.permissions import needed
from workerd_faas.usecases.access import account_for
from workerd_faas.usecases.ports import Authenticator

Handler = Callable[..., Any]


def needing(rule: str, handler: Handler, methods: tuple[str, ...]) -> Handler:
    """
    A handler whose requests know what their route needs, for `principal_of`.

    Args:
        rule: The route's path. Its parameter `name` is a function, `account` an account's id.
        handler: Answers requests.
        methods: What the route takes.

    Raises:
        ValueError: nobody has said what the route needs.
    """
    taken = (*methods, "HEAD") if "GET" in methods else methods
    scopes = {method: needed(method, rule) for method in taken}

    @wraps(handler)
    def handle(request: Any, *args: Any, **kwargs: Any) -> Any:
        scope = scopes.get(request.method.decode("ascii"))
        if scope is None:
            # The router takes `get` for `GET`; they are two methods (RFC 9110 section 9.1).
            raise MethodNotAllowed(valid_methods=taken)
        request.needs = (scope, kwargs.get("name"))
        request.account = kwargs.get("account")
        return handler(request, *args, **kwargs)

    return handle


async def principal_of(auth: Authenticator, request: IRequest) -> Principal:
    """
    Who makes this request. Nothing else of it has been looked at then, so that who may not act for
    an account learns the same of it whatever is asked.

    Raises:
        Problem: `UNAUTHENTICATED`; `FORBIDDEN` when the credential is not good for this route or
            the account in its path.
    """
    principal = await auth.authenticate(header(request, "authorization"))
    account: str | None = request.account  # type: ignore[attr-defined]
    if account is not None:
        account_for(principal, account)
    needs: tuple[str, str | None] = request.needs  # type: ignore[attr-defined]
    principal.permissions.check(*needs)
    return principal
