"""`wrkst queues`: queues and their consumers. The words and options are Wrangler's."""

from collections.abc import Mapping
from typing import Any

import click

from workerd_faas.cli.app import App, json_option, pass_app
from workerd_faas.cli.client.account_queues import QueuesApi
from workerd_faas.cli.client.scripts import Record
from workerd_faas.cli.failure import usage
from workerd_faas.cli.terminal import confirm, note, show_json, show_table, when, working


def _queues(app: App) -> QueuesApi:
    return QueuesApi(app.api, app.scripts().account.id)


@click.group()
def queues() -> None:
    """
    Queues, and the functions that consume them.
    """


_DELAY = click.option(
    "--delivery-delay-secs",
    type=click.IntRange(0, 86_400),
    metavar="SECONDS",
    help="How long a message waits at least before it is delivered.",
)


@queues.command("create", epilog="\b\nExample:\n  wrkst queues create orders")
@click.argument("name")
@_DELAY
@json_option
@pass_app
def create(app: App, name: str, delivery_delay_secs: int | None, as_json: bool) -> None:
    """
    Make a queue.
    """
    with working("making"):
        made = _queues(app).create(name, _settings(delivery_delay_secs))
    if as_json:
        show_json(made)
    else:
        note(f"{name} is there.")


@queues.command(
    "list",
    epilog="""\b
Example:
  wrkst queues list""",
)
@json_option
@pass_app
def list_queues(app: App, as_json: bool) -> None:
    """
    List queues.
    """
    with working("asking"):
        found = _queues(app).all()
    if as_json:
        show_json(found)
        return
    show_table(
        ("NAME", "PRODUCERS", "CONSUMER", "CREATED"),
        (
            (
                str(each["queue_name"]),
                str(each.get("producers_total_count", 0)),
                _scripts(each.get("consumers")),
                when(each.get("created_on")),
            )
            for each in found
        ),
    )


@queues.command(
    "info",
    epilog="""\b
Example:
  wrkst queues info orders""",
)
@click.argument("name")
@json_option
@pass_app
def info(app: App, name: str, as_json: bool) -> None:
    """
    Show a queue, who sends to it and who consumes it.
    """
    with working("asking"):
        found = _queues(app).named(name)
    if as_json:
        show_json(found)
        return
    settings = found.get("settings") or {}
    show_table(
        ("", ""),
        (
            ("id", str(found["queue_id"])),
            ("created", when(found.get("created_on"))),
            ("producers", _scripts(found.get("producers"))),
            ("consumer", _scripts(found.get("consumers"))),
            ("delivery", "paused" if settings.get("delivery_paused") else "on"),
            ("delay", f"{settings.get('delivery_delay', 0)} s"),
        ),
    )


@queues.command(
    "update",
    epilog="""\b
Example:
  wrkst queues update orders --delivery-delay-secs 60""",
)
@click.argument("name")
@_DELAY
@json_option
@pass_app
def update(app: App, name: str, delivery_delay_secs: int | None, as_json: bool) -> None:
    """
    Change a queue.
    """
    if delivery_delay_secs is None:
        raise usage("Nothing to change.", hint="give --delivery-delay-secs SECONDS")
    _change(app, name, _settings(delivery_delay_secs), as_json)


@queues.command(
    "pause-delivery",
    epilog="""\b
Example:
  wrkst queues pause-delivery orders""",
)
@click.argument("name")
@json_option
@pass_app
def pause(app: App, name: str, as_json: bool) -> None:
    """
    Deliver nothing until it is resumed; the queue goes on to take messages.
    """
    _change(app, name, {"delivery_paused": True}, as_json)


@queues.command(
    "resume-delivery",
    epilog="""\b
Example:
  wrkst queues resume-delivery orders""",
)
@click.argument("name")
@json_option
@pass_app
def resume(app: App, name: str, as_json: bool) -> None:
    """
    Deliver again.
    """
    _change(app, name, {"delivery_paused": False}, as_json)


def _change(app: App, name: str, settings: Record, as_json: bool) -> None:
    with working("changing"):
        changed = _queues(app).change(name, settings)
    if as_json:
        show_json(changed)
    else:
        note(f"{name} is changed.")


@queues.command(
    "purge",
    epilog="""\b
Example:
  wrkst queues purge orders""",
)
@click.argument("name")
@click.option("--force", "--yes", "-y", "yes", is_flag=True, help="Do not ask.")
@pass_app
def purge(app: App, name: str, yes: bool) -> None:
    """
    Drop all messages.
    """
    confirm(f"Drop all messages of {name}?", assume_yes=yes)
    with working("purging"):
        _queues(app).purge(name)
    note(f"{name} is empty.")


@queues.command(
    "delete",
    epilog="""\b
Example:
  wrkst queues delete orders""",
)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, name: str, yes: bool) -> None:
    """
    Delete a queue with all its messages.
    """
    confirm(f"Delete the queue {name} with all its messages?", assume_yes=yes)
    with working("deleting"):
        _queues(app).delete(name)
    note(f"Deleted {name}.")


@queues.group()
def consumer() -> None:
    """
    The function that gets a queue's messages.
    """


@consumer.command(
    "add", epilog="\b\nExample:\n  wrkst queues consumer add orders shop --batch-size 50"
)
@click.argument("queue")
@click.argument("function")
@click.option("--batch-size", type=int, metavar="N", help="Messages in a batch, at most; 10.")
@click.option(
    "--batch-timeout", type=float, metavar="SECONDS", help="How long to wait for more; 5."
)
@click.option("--message-retries", type=int, metavar="N", help="Further attempts; 3.")
@click.option("--dead-letter-queue", metavar="NAME", help="Where to put what always fails.")
@click.option("--max-concurrency", type=int, metavar="N", help="Batches at a time, at most.")
@click.option(
    "--retry-delay-secs", type=int, metavar="SECONDS", help="Pause before another attempt."
)
@json_option
@pass_app
def add_consumer(app: App, /, queue: str, function: str, as_json: bool, **given: Any) -> None:
    """
    Let a function consume a queue; one that does already gets these settings.
    """
    timeout = given["batch_timeout"]
    settings = {
        "batch_size": given["batch_size"],
        "max_wait_time_ms": None if timeout is None else round(timeout * 1000),
        "max_retries": given["message_retries"],
        "max_concurrency": given["max_concurrency"],
        "retry_delay": given["retry_delay_secs"],
    }
    document = consumer_document(function, settings, given["dead_letter_queue"])
    with working("storing"):
        done = _queues(app).set_consumer(queue, document)
    if as_json:
        show_json(done)
    else:
        note(f"{function} consumes {queue}.")


@consumer.command(
    "list",
    epilog="""\b
Example:
  wrkst queues consumer list orders""",
)
@click.argument("queue")
@json_option
@pass_app
def list_consumers(app: App, queue: str, as_json: bool) -> None:
    """
    List a queue's consumers; there is one at most.
    """
    with working("asking"):
        found = _queues(app).named(queue).get("consumers") or []
    if as_json:
        show_json(found)
        return
    show_table(
        ("FUNCTION", "DEAD LETTER QUEUE", "SETTINGS"),
        (
            (
                str(each.get("script")),
                str(each.get("dead_letter_queue") or "-"),
                ", ".join(f"{name} {value}" for name, value in each.get("settings", {}).items()),
            )
            for each in found
        ),
    )


@consumer.command(
    "remove",
    epilog="""\b
Example:
  wrkst queues consumer remove orders shop""",
)
@click.argument("queue")
@click.argument("function")
@pass_app
def remove_consumer(app: App, queue: str, function: str) -> None:
    """
    Let a function consume a queue no more; messages stay.
    """
    with working("changing"):
        _queues(app).remove_consumer(queue, function)
    note(f"{function} does not consume {queue} any more.")


def consumer_document(
    function: str, settings: Mapping[str, int | None], dead_letter: str | None
) -> dict[str, Any]:
    """
    A consumer as the API takes it.
    """
    return {
        "type": "worker",
        "script_name": function,
        "settings": {name: value for name, value in settings.items() if value is not None},
        **({} if dead_letter is None else {"dead_letter_queue": dead_letter}),
    }


def _settings(delay: int | None) -> dict[str, Any]:
    return {} if delay is None else {"delivery_delay": delay}


def _scripts(entries: Any) -> str:
    found = entries if isinstance(entries, list) else []
    return ", ".join(str(each.get("script")) for each in found) or "-"
