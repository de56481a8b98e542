"""The relay alone, in a process of its own: `python -m bench.relayd PORT SOCKET`."""

import sys
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from workerd_faas import reactor as reactors
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.model import Split
from workerd_faas.domain.routing import FunctionRoutes, Route, RoutingTable
from workerd_faas.domain.upstream import Upstream
from workerd_faas.ingress.service import Ingress

VERSION = "11111111-2222-4333-8444-555555555555"


class OneCell:
    """
    `Cells` with one that is always ready.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def upstream(self, route: Route) -> Upstream | None:
        return self._upstream

    def when_ready(
        self, route: Route, then: Callable[[Upstream | Problem], None]
    ) -> Callable[[], None]:
        then(self._upstream)
        return lambda: None

    def version_removed(self, account_id: str, version_id: str) -> None:
        pass


def main(port: str, socket: str) -> None:
    """
    Serve until killed.
    """
    reactor = reactors.install()
    routes = RoutingTable()
    routes.load(
        [
            FunctionRoutes(
                function="hello",
                account_id="a" * 32,
                splits=(Split(version_id=VERSION, percentage=100),),
                aliases={},
                versions=[VERSION],
            )
        ]
    )
    cell = Upstream(socket, "cell")
    ingress = Ingress(
        reactor=reactor,
        listen=[f"tcp:{port}:interface=127.0.0.1"],
        base_domain="bench.test",
        routes=routes,
        cells=OneCell(cell),
        api=cell,
    )

    def failed(failure: Failure) -> None:
        print(failure.getErrorMessage(), file=sys.stderr)
        reactor.stop()

    def start() -> None:
        Deferred.fromCoroutine(ingress.start()).addErrback(failed)

    reactor.callWhenRunning(start)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
