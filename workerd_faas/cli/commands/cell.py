"""`wrkst cell`: the processes that run one's functions."""

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.failure import Failure
from workerd_faas.cli.terminal import note, show_json, working


@click.group()
def cell() -> None:
    """
    Cells: the processes that run your functions and keep their data.
    """


@cell.command(
    epilog="""\b
Examples:
  wrkst cell restart
  wrkst cell restart --function shop"""
)
@click.option("--function", metavar="NAME", help="Only the cell in which this function runs.")
@json_option
@pass_app
def restart(app: App, function: str | None, as_json: bool) -> None:
    """
    Replace the cells of your account by new ones.

    No request fails: new cells are ready before they are used, and the old ones finish what they
    have. What functions keep in memory is lost; stored data is not.
    """
    scripts = app.scripts()
    path = ("cells", "restart") if function is None else ("scripts", function, "restart")
    with working("restarting"):
        done = scripts.api.call("POST", "accounts", scripts.account.id, "workers", *path)
    if as_json:
        show_json(done)
    if done["failed"]:
        raise Failure(f"{done['failed']} cells go on as they were: no new ones came up.")
    if not as_json:
        note(f"{done['replaced']} restarted.")
