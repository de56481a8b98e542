"""What the settings of limits are for each of the rooms that hold functions to them."""

from workerd_faas.domain.admission import Admission
from workerd_faas.domain.routing import RoutingTable
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.runtime import memory
from workerd_faas.runtime.cpu import CpuLimit
from workerd_faas.runtime.custody import FleetCustody
from workerd_faas.runtime.fleet import Fleet
from workerd_faas.runtime.options import FleetOptions, room_for_versions
from workerd_faas.runtime.warming import Warming
from workerd_faas.settings.limits import FunctionLimits
from workerd_faas.settings.model import Settings
from workerd_faas.usecases.standings.verbs import Limits, Standings


def relay_limits(limits: FunctionLimits) -> RelayLimits:
    """
    For relays.
    """
    return RelayLimits(
        first_byte_seconds=limits.response_timeout,
        keep_alive_seconds=limits.keep_alive,
        body_bytes=limits.request_body,
        response_head_bytes=limits.response_header,
    )


def cpu_limit(limits: FunctionLimits) -> CpuLimit | None:
    """
    For cells.
    """
    if limits.cell_cpu is None:
        return None
    return CpuLimit(seconds=limits.cell_cpu, window=limits.cell_cpu_window)


def fleet_options(settings: Settings) -> FleetOptions:
    """
    For all function cells.
    """
    return FleetOptions(
        isolation=settings.isolation,
        egress_allow=settings.egress_allow,
        database_allow=settings.hyperdrive_allow,
        deny=settings.egress_deny,
        max_cells=settings.max_cells,
        cells_per_place=settings.cells_per_account,
        promoted=settings.promoted_functions,
        idle=settings.cell_idle_timeout,
        memory=settings.cell_memory,
        memory_of_all=settings.cells_memory or _most_of_the_memory(),
        cpu=cpu_limit(settings.limits),
        blame=settings.limits.blame,
        loaded_versions=settings.limits.loaded_versions or room_for_versions(settings.cell_memory),
    )


def _most_of_the_memory() -> int | None:
    there_is = memory.available()
    return None if there_is is None else there_is * 3 // 4


def keep_custody(fleet: Fleet, routes: RoutingTable) -> FleetCustody:
    """
    A fleet's custody, which ends for a function with its next deployment; what is deployed is
    loaded at once where its function runs.
    """
    custody = FleetCustody(fleet)
    routes.follow(custody.deployed)
    routes.follow(Warming(fleet, routes).deployed)
    return custody


def standings(
    custody: FleetCustody, routes: RoutingTable, admission: Admission, limits: FunctionLimits
) -> Standings:
    """
    What users are told of all this.
    """
    return Standings(
        custody=custody,
        routes=routes,
        in_flight=admission.in_flight,
        limits=_shown(limits, custody.fleet.options),
    )


def _shown(limits: FunctionLimits, options: FleetOptions) -> Limits:
    return Limits(
        function_concurrency=limits.function_concurrency,
        account_concurrency=limits.account_concurrency,
        function_rate=limits.function_rate,
        account_rate=limits.account_rate,
        account_site_size=limits.account_site_size,
        account_site_files=limits.account_site_files,
        response_timeout=limits.response_timeout,
        cell_cpu=limits.cell_cpu,
        cell_cpu_window=limits.cell_cpu_window,
        cell_memory=options.memory,
        loaded_versions=options.loaded_versions,
        request_body=limits.request_body,
        response_header=limits.response_header,
    )
