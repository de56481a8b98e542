"""Function cells, check cells, and all that has to do with what runs in them."""

from collections.abc import Mapping
from typing import Any

from workerd_faas.assembly.ground import Ground
from workerd_faas.assembly.logs import LogParts
from workerd_faas.assembly.sites import SiteParts
from workerd_faas.assembly.storage import StorageParts
from workerd_faas.ingress.call_doors import call_doors
from workerd_faas.limits import (
    fleet_options,
    keep_custody,
    relay_limits,
)
from workerd_faas.runtime.check import CheckCells, CheckOptions
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.resolver import MachineResolver
from workerd_faas.runtime.restarts import CellRestarts
from workerd_faas.runtime.scheduled import CellCalls
from workerd_faas.store.data_points import SQLPoints
from workerd_faas.store.grants import SQLGrants
from workerd_faas.store.policies import SQLPolicies
from workerd_faas.store.schedules import SQLSchedules
from workerd_faas.usecases.analytics.points import DataPoints
from workerd_faas.usecases.hyperdrive.openings import Openings
from workerd_faas.usecases.hyperdrive.verbs import (
    BoundDatabases,
    DatabaseOrigins,
)
from workerd_faas.usecases.loading import StoredVersions
from workerd_faas.usecases.making import VersionMaker
from workerd_faas.usecases.policies.policies import Policies
from workerd_faas.usecases.reading import Reader
from workerd_faas.usecases.schedules.scheduler import Scheduler
from workerd_faas.usecases.storage.bindings import OwnStorage
from workerd_faas.usecases.ties.grants import CallGrants, GrantTable
from workerd_faas.usecases.ties.targets import AccountTargets
from workerd_faas.usecases.ties.ties import Ties
from workerd_faas.usecases.workers import Workers


class CellParts:
    """
    Attributes:
        fleet: Function cells.
        checks: Check cells.
    """

    def __init__(
        self, ground: Ground, logs: LogParts, sites: SiteParts, storage: StorageParts
    ) -> None:
        settings = ground.settings
        workerd = ground.workerd.path
        self.points = DataPoints(
            store=SQLPoints(ground.database), clock=ground.clock, reactor=ground.reactor
        )
        self.fleet = Fleet(
            reactor=ground.reactor,
            binary=workerd,
            directory=ground.made("f"),
            loader=StoredVersions(
                catalog=ground.catalog,
                secrets=ground.secrets,
                bundles=ground.bundles,
                routes=ground.routes,
                ties=ground.ties,
                origins=DatabaseOrigins(store=ground.configurations),
            ),
            events=logs.events,
            targets=AccountTargets(ground.routes),
            sites=sites.served,
            doors=storage.doors,
            points=self.points,
            walls=ground.walls,
            large=ground.routes.large,
            options=fleet_options(settings),
        )
        self.custody = keep_custody(self.fleet, ground.routes)
        self.openings = Openings(
            store=ground.configurations,
            resolver=MachineResolver(ground.reactor),
            gates=self.fleet,
            reactor=ground.reactor,
        )
        logs.tails.changed = self.fleet.tails_changed
        self._make_calls(ground)
        self._make_policies(ground, storage)
        self.scheduler = Scheduler(
            reactor=ground.reactor,
            clock=ground.clock,
            store=SQLSchedules(ground.database),
            calls=CellCalls(
                reactor=ground.reactor,
                cells=self.fleet,
                routes=ground.routes,
                events=logs.events,
                clock=ground.clock,
            ),
            drain=settings.drain_timeout,
        )
        self.checks = CheckCells(
            reactor=ground.reactor,
            binary=workerd,
            directory=ground.made("c"),
            options=CheckOptions(
                load=settings.check_timeout, memory_of_large=self.fleet.options.memory
            ),
            walls=ground.walls,
        )
        self.restarts = CellRestarts(fleet=self.fleet, state=storage.cells, checks=self.checks)

    def _make_policies(self, ground: Ground, storage: StorageParts) -> None:
        self.policies = Policies(
            store=SQLPolicies(ground.database),
            for_all=self.fleet.rules.for_all,
            keeper=self.fleet,
            reactor=ground.reactor,
        )
        storage.doors.shares = self.call_doors.shares = self.fleet.rules.shares

    def _make_calls(self, ground: Ground) -> None:
        self.granted = GrantTable(ground.routes)
        self.call_grants = CallGrants(
            catalog=ground.catalog,
            store=SQLGrants(ground.database),
            table=self.granted,
            work=ground.jobs,
            clock=ground.clock,
        )
        self.fleet.calls = self.call_doors = call_doors(
            reactor=ground.reactor,
            cells=self.fleet,
            routes=ground.routes,
            rights=self.granted,
            limits=relay_limits(ground.settings.limits),
            admission=ground.admission,
        )
        self.ties = Ties(
            store=ground.ties,
            routes=ground.routes,
            notices=self.fleet,
            granting=self.granted.granting,
        )

    def workers(
        self, ground: Ground, logs: LogParts, sites: SiteParts, storage: StorageParts
    ) -> Workers:
        """
        What can be done with Workers.
        """

        async def deleted(account_id: str, function: str) -> None:
            await logs.events.forget(account_id, function)
            await storage.queues.function_removed(account_id, function)
            self.granted.removed(account_id, function)

        return Workers(
            catalog=ground.catalog,
            read=Reader(catalog=ground.catalog, bundles=ground.bundles),
            making=VersionMaker(
                bundles=ground.bundles,
                secrets=ground.secrets,
                sites=sites.versions,
                ties=self.ties,
                checker=self.checks,
                clock=ground.clock,
                limits=ground.limits,
                storage=BoundDatabases(
                    store=ground.configurations,
                    others=OwnStorage(resources=storage.resources, clock=ground.clock),
                ),
            ),
            secrets=ground.secrets,
            ties=self.ties,
            unversioned=ground.unversioned,
            cells=self.fleet,
            routes=ground.routes,
            work=ground.jobs,
            clock=ground.clock,
            deleted=deleted,
            changed=self.openings.follow,
        )

    def health(self) -> Mapping[str, Any]:
        """
        How the cells are, for `/health`.
        """
        status = self.fleet.status()
        return {
            "ok": status.startable and self.checks.startable,
            "cells": len(status.cells),
            "max_cells": status.max_cells,
            "waiting": status.waiting,
            "started": status.started,
            "crashed": status.crashed,
            **self.scheduler.status(),
            "backing_off": len(status.breakers),
            **self.custody.counts(),
        }
