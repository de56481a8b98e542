"""
What is deployed is loaded at once where its function runs: the first request finds it there.
"""

import attrs

from workerd_faas.domain.routing import RoutingTable
from workerd_faas.runtime.fleet import Fleet


@attrs.frozen(eq=False)
class Warming:
    """
    Follows deployments (`RoutingTable.follow`).
    """

    fleet: Fleet
    routes: RoutingTable

    def deployed(self, function: str) -> None:
        """
        A function was deployed anew, or removed.
        """
        route = self.routes.sole(function)
        if route is not None:
            self.fleet.warm(route)
