"""What functions are held to: settings, and their values once they are read."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from workerd_faas.domain.admission import TrafficLimits
from workerd_faas.domain.blame import BlamePolicy
from workerd_faas.domain.limits import AssetQuota
from workerd_faas.settings import values
from workerd_faas.settings.setting import Setting

_LIMITS: Final = "Limits"
_FIRST_SHARE: Final = 60

LIMIT_SETTINGS: Final = (
    Setting(
        group=_LIMITS,
        name="FUNCTION_CONCURRENCY",
        meaning="How many requests a function may have at once; a WebSocket or a stream is one",
        read=values.count,
        default="1000",
        example="200",
    ),
    Setting(
        group=_LIMITS,
        name="ACCOUNT_CONCURRENCY",
        meaning="How many requests all functions of an account may have at once",
        read=values.count,
        default="2000",
        example="500",
    ),
    Setting(
        group=_LIMITS,
        name="FUNCTION_RATE",
        meaning="How many requests a second a function may have in the long run",
        read=values.rate,
        default_words="no bound",
        example="100",
    ),
    Setting(
        group=_LIMITS,
        name="ACCOUNT_RATE",
        meaning="How many requests a second all functions of an account may have in the long run",
        read=values.rate,
        default_words="no bound",
        example="500",
    ),
    Setting(
        group=_LIMITS,
        name="ACCOUNT_SITE_SIZE",
        meaning="How much room the static files of all versions of an account's functions may "
        "take; none for no bound",
        read=values.or_none(values.size),
        default="10GiB",
        example="1GiB",
    ),
    Setting(
        group=_LIMITS,
        name="ACCOUNT_SITE_FILES",
        meaning="How many different static files these may be; none for no bound",
        read=values.or_none(values.count),
        default="200000",
        example="20000",
    ),
    Setting(
        group=_LIMITS,
        name="RESPONSE_TIMEOUT",
        meaning="How long a function may take until its answer begins",
        read=values.duration,
        default="100s",
        example="30s",
    ),
    Setting(
        group=_LIMITS,
        name="KEEP_ALIVE_TIMEOUT",
        meaning="How long a connection without a request is kept; longer than a load balancer in "
        "front keeps its own to here, or it sends requests on connections that are just ending",
        read=values.duration,
        default="75s",
        example="620s",
    ),
    Setting(
        group=_LIMITS,
        name="MAX_REQUEST_BODY",
        meaning="How large the body of a request to a function may be; it is passed on as it comes",
        read=values.size,
        default_words="no bound",
        example="100MiB",
    ),
    Setting(
        group=_LIMITS,
        name="MAX_RESPONSE_HEADER",
        meaning="How large the status line and the header fields of a function's answer may be",
        read=values.size,
        default="64KiB",
        example="32KiB",
    ),
    Setting(
        group=_LIMITS,
        name="CELL_CPU",
        meaning="How much CPU time a workerd process may use in CELL_CPU_WINDOW, and a second more "
        "for each request; none for no bound",
        read=values.or_none(values.duration),
        default="90s",
        example="30s",
    ),
    Setting(
        group=_LIMITS,
        name="CELL_CPU_WINDOW",
        meaning="The time over which the CPU time of a workerd process is looked at",
        read=values.duration,
        default="2m",
        example="1m",
    ),
    Setting(
        group=_LIMITS,
        name="LOADED_VERSIONS",
        meaning="How many versions of functions a workerd process keeps loaded",
        read=values.count,
        default_words="one for each 5 MiB of CELL_MEMORY",
        example="20",
    ),
    Setting(
        group=_LIMITS,
        name="QUARANTINE_STRIKES",
        meaning="How many strikes in ten minutes put a function whose own process ends into "
        "quarantine; an end weighs two if no other function is likely to have caused it, else one",
        read=values.count,
        default="5",
        example="3",
    ),
    Setting(
        group=_LIMITS,
        name="QUARANTINE_TIME",
        meaning="How long a quarantined function is answered for with an error, at most; the first "
        "time it is a sixtieth of that, and twice as long each time",
        read=values.duration,
        default="10m",
        example="1h",
    ),
)


@attrs.frozen(kw_only=True)
class FunctionLimits:
    """
    Times are in seconds, sizes in bytes, rates in requests a second; None is no bound, but for
    `loaded_versions`, where it means as many as there is room for.
    """

    function_concurrency: int
    account_concurrency: int
    function_rate: float | None
    account_rate: float | None
    account_site_size: int | None
    account_site_files: int | None
    response_timeout: float
    keep_alive: float
    request_body: int | None
    response_header: int
    cell_cpu: float | None
    cell_cpu_window: float
    loaded_versions: int | None
    quarantine_strikes: int
    quarantine_time: float

    @property
    def traffic(self) -> TrafficLimits:
        """
        How many requests there may be.
        """
        return TrafficLimits(
            function_at_once=self.function_concurrency,
            account_at_once=self.account_concurrency,
            function_rate=self.function_rate,
            account_rate=self.account_rate,
        )

    @property
    def sites(self) -> AssetQuota:
        """
        How much sites may take.
        """
        return AssetQuota(size=self.account_site_size, files=self.account_site_files)

    @property
    def blame(self) -> BlamePolicy:
        """
        When functions are quarantined.
        """
        return BlamePolicy(
            strikes=self.quarantine_strikes,
            first=self.quarantine_time / _FIRST_SHARE,
            most=self.quarantine_time,
        )


def function_limits(read: Mapping[str, Any]) -> FunctionLimits:
    """
    The limits, from the values of settings by their names.
    """
    return FunctionLimits(
        function_concurrency=read["FUNCTION_CONCURRENCY"],
        account_concurrency=read["ACCOUNT_CONCURRENCY"],
        function_rate=read["FUNCTION_RATE"],
        account_rate=read["ACCOUNT_RATE"],
        account_site_size=read["ACCOUNT_SITE_SIZE"],
        account_site_files=read["ACCOUNT_SITE_FILES"],
        response_timeout=read["RESPONSE_TIMEOUT"],
        keep_alive=read["KEEP_ALIVE_TIMEOUT"],
        request_body=read["MAX_REQUEST_BODY"],
        response_header=read["MAX_RESPONSE_HEADER"],
        cell_cpu=read["CELL_CPU"],
        cell_cpu_window=read["CELL_CPU_WINDOW"],
        loaded_versions=read["LOADED_VERSIONS"],
        quarantine_strikes=read["QUARANTINE_STRIKES"],
        quarantine_time=read["QUARANTINE_TIME"],
    )
