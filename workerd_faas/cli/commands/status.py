"""`wrkst status` and `wrkst quarantine`: how functions and their processes stand."""

from collections.abc import Mapping
from typing import Any

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.terminal import note, show_json, show_table, working

_MIB = 1 << 20


@click.command(
    epilog="""\b
Examples:
  wrkst status
  wrkst status --json""",
)
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """
    Show how your functions stand: their processes, who runs apart or is quarantined, the limits.
    """
    scripts = app.scripts()
    with working("asking"):
        found = scripts.api.get("accounts", scripts.account.id, "workers", "status")
        names = sorted(str(each.get("id")) for each in scripts.list())
    if as_json:
        show_json(found)
        return
    standings = {str(each.get("name")): each for each in found["functions"]}
    show_table(
        ("FUNCTION", "STANDING", "WHY", "UNTIL"),
        ((name, *_standing(standings.get(name))) for name in names),
    )
    processes = found["processes"]
    note(f"processes: {len(processes)}, requests in flight: {found['in_flight']}")
    for each in processes:
        note(
            f"  {each['function'] or 'all others'}: {each['state']}, {each['in_flight']} in flight,"
            f" {each['served']} served, {each['loaded_versions']} versions loaded,"
            f" {each['memory_bytes'] / _MIB:.0f} MiB"
        )
    note("limits: " + ", ".join(_limits(found["limits"])))


@click.group()
def quarantine() -> None:
    """
    Quarantine: functions that hung, crashed or outgrew their process again and again.
    """


@quarantine.command(
    "show",
    epilog="""\b
Example:
  wrkst quarantine show shop""",
)
@click.argument("function")
@json_option
@pass_app
def show_quarantine(app: App, function: str, as_json: bool) -> None:
    """
    Show how FUNCTION stands.
    """
    found = _call(app, "GET", function)
    if as_json:
        show_json(found)
        return
    show_table(("FUNCTION", "STANDING", "WHY", "UNTIL"), [(function, *_standing(found))])


@quarantine.command(
    "release",
    epilog="""\b
Example:
  wrkst quarantine release shop""",
)
@click.argument("function")
@json_option
@pass_app
def release(app: App, function: str, as_json: bool) -> None:
    """
    Let FUNCTION run again at once, beside the others. A new deployment does that by itself.
    """
    found = _call(app, "DELETE", function)
    if as_json:
        show_json(found)
        return
    note(f"{function} was {'released' if found.get('released') else 'free already'}.")


def _call(app: App, method: str, function: str) -> Any:
    scripts = app.scripts()
    path = ("accounts", scripts.account.id, "workers", "scripts", function, "quarantine")
    with working("asking"):
        return scripts.api.call(method, *path, repeatable=True)


def _standing(record: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if record is None or record.get("standing") == "free":
        return "free", "-", "-"
    why = f"{record['termination']}, {record['deaths']} processes ended"
    if record["retry_in_seconds"]:
        return record["standing"], why, f"next chance in {record['retry_in_seconds']:.0f} s"
    return record["standing"], why, f"free in {record['ends_in_seconds']:.0f} s"


def _limits(limits: Mapping[str, Any]) -> list[str]:
    shown = [
        f"{limits['function_concurrency']} requests of a function at once",
        f"{limits['account_concurrency']} in all",
        f"an answer in {limits['response_timeout']:g} s",
        f"{limits['cell_memory'] / _MIB:.0f} MiB a process",
    ]
    for name, whose in (("function_rate", "of a function"), ("account_rate", "in all")):
        if limits[name] is not None:
            shown.append(f"{limits[name]:g} requests a second {whose}")
    # A server that is older does not say.
    if limits.get("account_site_size") is not None:
        shown.append(f"{limits['account_site_size'] / _MIB:.0f} MiB of static files")
    if limits.get("account_site_files") is not None:
        shown.append(f"{limits['account_site_files']} static files")
    if limits["cell_cpu"] is not None:
        shown.append(
            f"{limits['cell_cpu']:g} s of CPU time in {limits['cell_cpu_window']:g} s a process"
        )
    return shown
