"""`wrkst config`."""

import json

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.client.address import is_plain_over_network, normalise_base_url
from workerd_faas.cli.client.settings import store_url
from workerd_faas.cli.failure import Failure
from workerd_faas.cli.terminal import note, show_json, show_table, warn, working


@click.group()
def config() -> None:
    """
    Which server to talk to.
    """


@config.command(
    "set-url",
    epilog="""\b
Examples:
  wrkst config set-url http://localhost:8080
  wrkst config set-url https://faas.example.com""",
)
@click.argument("url")
@pass_app
def set_url(app: App, url: str) -> None:
    """
    Make URL the server of all further commands.
    """
    normalised = normalise_base_url(url)
    store_url(app.settings.directory, normalised)
    note(f"The server is {normalised}.")
    if is_plain_over_network(normalised):
        warn("it is not encrypted: everybody on the way can read your login; use https")
    try:
        with working("looking for the server"):
            answer = app.http.send("GET", f"{normalised}/health", answer_seconds=5.0)
            health = json.loads(answer.body)
        note(f"It answers: {health['status']}, version {health.get('version', '?')}.")
    except Failure as failure:
        warn(f"{failure.message} The address is kept all the same.")
    except (ValueError, KeyError, TypeError):
        warn("what answers there does not look like workerd-faas; the address is kept")


@config.command("show")
@json_option
@pass_app
def show(app: App, as_json: bool) -> None:
    """
    Show what is in force, and where it is from.
    """
    settings = app.settings
    stored = settings.url is not None and app.store.load(settings.url) is not None
    credentials = "WRKST_TOKEN" if settings.token else ("login" if stored else None)
    document = {
        "url": settings.url,
        "url_source": settings.url_source,
        "account": settings.account,
        "credentials": credentials,
        "directory": str(settings.directory),
    }
    if as_json:
        show_json(document)
        return
    show_table(("SETTING", "VALUE"), ((key, str(value or "-")) for key, value in document.items()))
