"""`wrkst tail` and `wrkst logs`."""

import contextlib
import json
import re
import time
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from workerd_faas.cli.app import App, json_option, pass_app, project_options, target
from workerd_faas.cli.client.api import ApiError
from workerd_faas.cli.client.http import Unreachable
from workerd_faas.cli.client.logs import Disconnected, Event, LogsApi
from workerd_faas.cli.events import shown
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import note, output_console, show_json, working

_STATUS: Final = {
    "ok": ["ok"],
    "canceled": ["canceled"],
    "error": ["exception", "exceededCpu", "exceededMemory", "unknown"],
}
_LEVELS: Final = ("debug", "log", "info", "warn", "error", "exception")
_WAITS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each attempt to come back, as Wrangler has them."""

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@click.command(
    epilog="""\b
Examples:
  wrkst tail
  wrkst tail hello --status error --format json | jq .exceptions
  wrkst tail --method POST --search "order 17" --ip self"""
)
@click.argument("worker", required=False)
@project_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["pretty", "json"]),
    help="By default pretty on a terminal, else json: one event a line.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--status", multiple=True, type=click.Choice(list(_STATUS)), help="How it ended.")
@click.option("--method", multiple=True, metavar="METHOD", help="HTTP method.")
@click.option("--header", metavar="NAME[: VALUE]", help="A header that the request has.")
@click.option("--search", metavar="TEXT", help="Text of a console line or exception.")
@click.option("--ip", multiple=True, metavar="IP", help="The client's address; `self` is yours.")
@click.option("--version-id", metavar="VERSION", help="One version: its id, or its beginning.")
@click.option(
    "--sampling-rate", type=click.FloatRange(0, 1), metavar="RATE", help="A share, from 0 to 1."
)
@pass_app
def tail(
    app: App,
    worker: str | None,
    config: Path | None,
    environment: str | None,
    form: str | None,
    as_json: bool,
    status: tuple[str, ...],
    method: tuple[str, ...],
    header: str | None,
    search: str | None,
    ip: tuple[str, ...],
    version_id: str | None,
    sampling_rate: float | None,
) -> None:
    """
    Watch a function: every invocation as it ends, until you stop it.
    """
    filters: list[dict[str, Any]] = []
    if sampling_rate is not None:
        filters.append({"sampling_rate": sampling_rate})
    if status:
        filters.append({"outcome": [each for name in status for each in _STATUS[name]]})
    if method:
        filters.append({"method": list(method)})
    if header is not None:
        filters.append({"header": _header(header)})
    if ip:
        filters.append({"client_ip": list(ip)})
    if search is not None:
        filters.append({"query": search})
    if version_id is not None:
        filters.append({"scriptVersion": version_id})
    which = target(app, worker, config, environment)
    pretty = form == "pretty" or (form is None and not as_json and output_console().is_terminal)
    logs_api = LogsApi(which.scripts.api, which.scripts.account)
    try:
        with contextlib.closing(_watch(logs_api, which.name, filters)) as events:
            for event in events:
                if pretty:
                    output_console().print(shown(event))
                else:
                    click.echo(json.dumps(event))
    except KeyboardInterrupt:
        note("stopped")


def _watch(
    logs_api: LogsApi, function: str, filters: Sequence[dict[str, Any]]
) -> Generator[Event, None, None]:
    """
    Events, over as many tails as it takes.
    """
    lost = 0
    while True:
        try:
            for event in logs_api.watch(function, filters):
                if event is None:
                    note(f"watching {function}" if not lost else f"watching {function} again")
                    lost = 0
                else:
                    yield event
        except (Disconnected, Unreachable) as error:
            reason = str(error)
        except ApiError as error:
            if not lost or error.status < 500:
                raise
            reason = str(error)
        else:
            note("the server ended the tail")
            return
        if lost == len(_WAITS):
            raise Failure(f"The tail was lost ({reason}) and could not be had again.")
        time.sleep(_WAITS[lost])
        lost += 1


def _header(text: str) -> dict[str, str]:
    name, colon, value = text.partition(":")
    return {"key": name.strip(), "query": value.strip()} if colon else {"key": name.strip()}


@click.command(
    epilog="""\b
Examples:
  wrkst logs
  wrkst logs hello --level error --level exception --since 2h
  wrkst logs --all --request-id 0123456789abcdef"""
)
@click.argument("worker", required=False)
@project_options
@click.option("--all", "everything", is_flag=True, help="All functions of the account.")
@click.option("--level", multiple=True, type=click.Choice(_LEVELS), help="With one of these.")
@click.option("--search", metavar="TEXT", help="Text of a console line or exception.")
@click.option("--version-id", metavar="VERSION", help="One version: its id, or its beginning.")
@click.option("--request-id", metavar="ID", help="One request: the CF-Ray of its answer.")
@click.option("--since", metavar="WHEN", help="30s, 5m, 2h or 7d ago, or a time (ISO 8601).")
@click.option("--until", metavar="WHEN", help="The same, for the end.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, help="How many at most, the newest."
)
@json_option
@pass_app
def logs(
    app: App,
    worker: str | None,
    config: Path | None,
    environment: str | None,
    everything: bool,
    level: tuple[str, ...],
    search: str | None,
    version_id: str | None,
    request_id: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """
    Show what functions printed and threw; --json gives the newest first.
    """
    now = datetime.now(UTC)
    asked = {
        "level": ",".join(level) or None,
        "text": search,
        "version": version_id,
        "request_id": request_id,
        "since": _moment(since, now),
        "until": _moment(until, now),
    }
    query = {name: value for name, value in asked.items() if value is not None}
    if everything:
        if worker is not None:
            raise usage("Give either a function or --all.")
        function, scripts = None, app.scripts()
    else:
        which = target(app, worker, config, environment)
        function, scripts = which.name, which.scripts
    with working("asking"):
        found = LogsApi(scripts.api, scripts.account).kept(function, query, limit)
    if as_json:
        show_json(found)
        return
    if not found:
        note("Nothing is in the log for this.")
    console = output_console()
    for event in reversed(found):
        console.print(shown(event, with_name=everything))


def _moment(text: str | None, now: datetime) -> str | None:
    """
    A time for the API.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except ValueError:
        raise usage(
            f"{text!r} is no time.", hint="give, for example, 30m, 2h, 7d or 2026-11-23T12:00"
        ) from None
