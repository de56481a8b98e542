"""Who runs apart, and which processes there are, as users are told."""

from collections.abc import Mapping, Sequence

import attrs

from workerd_faas.domain.blame import Record, Standing
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.usecases.standings.ports import Custody, Process


@attrs.frozen
class FleetCustody:
    """
    `Custody` of a fleet.
    """

    fleet: Fleet

    def records(self) -> Sequence[Record]:
        """
        See `Custody`.
        """
        return self.fleet.quarantine.records()

    def processes(self) -> Sequence[Process]:
        """
        See `Custody`.
        """
        return [
            Process(
                account_id=cell.account_id,
                function=cell.function,
                state=cell.state,
                in_flight=cell.in_flight,
                served=cell.served,
                loaded=cell.loaded,
                data=cell.data,
                age=cell.age,
            )
            for cell in self.fleet.status().cells
        ]

    def release(self, function: str) -> bool:
        """
        See `Custody`.
        """
        return self.fleet.quarantine.pardon(function, "it was released")

    def counts(self) -> Mapping[str, int]:
        """
        How many functions are not free, for `/health`.
        """
        standings = [record.standing for record in self.records()]
        return {
            "suspects": standings.count(Standing.SUSPECT),
            "quarantined": standings.count(Standing.QUARANTINED),
        }

    def deployed(self, function: str) -> None:
        """
        A function was deployed anew, or removed.
        """
        self.fleet.quarantine.pardon(function, "it was deployed")


_check: type[Custody] = FleetCustody
