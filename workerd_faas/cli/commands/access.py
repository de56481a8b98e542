"""`wrkst token` and `wrkst sessions`: what may act in your name."""

import datetime
import re
from typing import Any

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import note, say, show_json, show_table, when, working
from workerd_faas.domain.permissions import EVERYTHING, SCOPES


@click.group()
def token() -> None:
    """
    API tokens: for machines, instead of a login.
    """


def parse_expiry(text: str, now: datetime.datetime) -> str:
    """
    A date, or a number of days (`90d`), as a time stamp.

    Raises:
        Failure: it is neither, or past.
    """
    days = re.fullmatch(r"(\d{1,5})d", text)
    try:
        if days:
            moment = now + datetime.timedelta(days=int(days[1]))
        else:
            moment = datetime.datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.astimezone()
    except (ValueError, OverflowError):
        raise usage(f"{text!r}: write 90d for days, or a date such as 2027-01-31.") from None
    if moment <= now:
        raise usage(f"{text} is past.")
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@token.command(
    "create",
    epilog="""\b
Examples:
  wrkst token create ci
  wrkst token create deploy-bot --function shop --function shop-api --expires 90d
  wrkst token create dashboard --read-only --json""",
)
@click.argument("name")
@click.option("--expires", metavar="WHEN", help="90d, or a date; by default never.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    metavar="SCOPE",
    help=f"What it may do; may be repeated. One of: {', '.join(SCOPES)}. By default everything.",
)
@click.option("--read-only", is_flag=True, help="All scopes that end in :read.")
@click.option(
    "--function",
    "functions",
    multiple=True,
    metavar="NAME",
    help="It is for this function only; may be repeated. By default all of the account.",
)
@json_option
@pass_app
def create_token(
    app: App,
    name: str,
    expires: str | None,
    scopes: tuple[str, ...],
    read_only: bool,
    functions: tuple[str, ...],
    as_json: bool,
) -> None:
    """
    Make an API token called NAME. It is shown this one time.

    A token may deploy code, and code may use all data of its account: a token for one function
    keeps accidents away from the others, not an attacker.
    """
    if read_only and scopes:
        raise usage("--read-only says which scopes: leave out --scope.")
    if read_only:
        scopes = tuple(scope for scope in SCOPES if scope.endswith(":read"))
    now = datetime.datetime.now(datetime.UTC)
    expires_on = None if expires is None else parse_expiry(expires, now)
    with working("asking"):
        made = app.user.create_token(name, expires_on, scopes, functions)
    if as_json:
        show_json(made)
        return
    note("Keep it safe, it is not shown again. Use it as WRKST_TOKEN:")
    say(str(made.get("value")))


@token.command(
    "list",
    epilog="""\b
Examples:
  wrkst token list
  wrkst token list --json""",
)
@json_option
@pass_app
def list_tokens(app: App, as_json: bool) -> None:
    """
    List API tokens, without their values.
    """
    with working("asking"):
        found = app.user.tokens()
    if as_json:
        show_json(found)
        return
    show_table(
        ("ID", "NAME", "CREATED", "LAST USED", "EXPIRES", "SCOPES", "FUNCTIONS"),
        (
            (
                str(each.get("id")),
                str(each.get("name")),
                when(each.get("created_on")),
                when(each.get("last_used_on")),
                when(each.get("expires_on")),
                _scopes(each.get("scopes")),
                ", ".join(each.get("functions") or ("all",)),
            )
            for each in found
        ),
    )


def _scopes(scopes: Any) -> str:
    if not isinstance(scopes, list):
        return ""
    return "everything" if EVERYTHING.scopes <= set(scopes) else ", ".join(map(str, scopes))


@token.command(
    "revoke",
    epilog="""\b
Example:
  wrkst token revoke ci""",
)
@click.argument("token_id", metavar="ID")
@pass_app
def revoke_token(app: App, token_id: str) -> None:
    """
    End an API token; ID is its id or its name, not the token itself.
    """
    with working("asking"):
        found = app.user.tokens()
        matching = [each for each in found if token_id in (each.get("id"), each.get("name"))]
        if len(matching) != 1:
            raise Failure(
                # Not repeated: it may be the token itself.
                f"{'Several tokens are' if matching else 'No token is'} called so.",
                details=[f"{each.get('id')} {each.get('name')}" for each in matching],
                hint="`wrkst token list` shows ids and names",
            )
        app.user.revoke_token(str(matching[0].get("id")))
    note(f"The token {matching[0].get('name')} is no longer accepted.")


@click.group()
def sessions() -> None:
    """
    Logins: where you are logged in.
    """


@sessions.command(
    "list",
    epilog="""\b
Example:
  wrkst sessions list""",
)
@json_option
@pass_app
def list_sessions(app: App, as_json: bool) -> None:
    """
    List the logins that have not ended.
    """
    with working("asking"):
        found = app.user.sessions()
    if as_json:
        show_json(found)
        return
    show_table(
        ("ID", "CLIENT", "CREATED", "LAST USED", ""),
        (
            (
                str(each.get("id")),
                str(each.get("client")),
                when(each.get("created_on")),
                when(each.get("last_used_on")),
                "this one" if each.get("current") else "",
            )
            for each in found
        ),
    )


@sessions.command(
    "revoke",
    epilog="""\b
Example:
  wrkst sessions revoke 68633fd7b61878465fdfd7ddce461f20""",
)
@click.argument("session_id", metavar="ID")
@pass_app
def revoke_session(app: App, session_id: str) -> None:
    """
    End a login, for example one on a lost machine.
    """
    with working("asking"):
        app.user.revoke_session(session_id)
    note("That session has ended.")
