"""The real Wrangler's queue commands, and queues between deployed functions."""

from typing import Any

from tests.e2e.daemon import until
from tests.e2e.wrangling import Shell

CODE = """
export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/send") {
      await env.JOBS.send(JSON.parse(searchParams.get("body")));
      return new Response("sent");
    }
    const { keys } = await env.STORE.list();
    const found = await Promise.all(keys.map(({ name }) => env.STORE.get(name, "json")));
    return Response.json(found);
  },
  async queue(batch, env) {
    for (const message of batch.messages) {
      const { queue } = batch;
      const { id, attempts, body } = message;
      const seen = { queue, attempts, body };
      await env.STORE.put([queue, id, attempts].join("/"), JSON.stringify(seen));
      if (body.poison && !queue.endsWith("-dead")) message.retry();
      else message.ack();
    }
  },
};
"""


def configure(shell: Shell, name: str, **consumer: Any) -> None:
    """
    A function that sends to the queue of its name and consumes it and `…-dead`, and keeps what it
    gets.
    """
    namespace = shell.daemon.api("POST", "/storage/kv/namespaces", {"title": f"seen by {name}"})
    shell.configure(
        CODE,
        name=name,
        kv_namespaces=[{"binding": "STORE", "id": namespace.result["id"]}],
        queues={
            "producers": [{"binding": "JOBS", "queue": name}],
            "consumers": [
                {"queue": name, "max_batch_timeout": 0, **consumer},
                {"queue": f"{name}-dead", "max_batch_timeout": 0},
            ],
        },
    )


def seen(shell: Shell, name: str, count: int) -> Any:
    """
    What the function got, once that is so much.
    """

    def found() -> Any:
        document = shell.daemon.function(name).document
        return document if len(document) >= count else None

    try:
        return until(found, f"{count} deliveries", 20)
    except AssertionError:
        print(shell.daemon.function(name).document, shell.daemon.log[-3000:])
        raise


def test_retries_end_in_the_dead_letter_queue(shell: Shell) -> None:
    """
    A deploy makes the function a consumer: what it accepts is delivered once; what it sends back is
    delivered again, and then to the dead letter queue's consumer.
    """
    shell.run("queues", "create", "retried")
    shell.run("queues", "create", "retried-dead")
    configure(shell, "retried", max_retries=2, dead_letter_queue="retried-dead")
    shell.run("deploy")
    shell.run("deploy")
    printed = shell.run("queues", "info", "retried")
    assert "worker:retried" in printed, printed
    for body in ("%7B%22n%22:7%7D", "%7B%22poison%22:true%7D"):
        assert shell.daemon.function("retried", f"/send?body={body}").text == "sent"
    found = seen(shell, "retried", 5)
    good = [each for each in found if each["body"] == {"n": 7}]
    assert good == [{"queue": "retried", "attempts": 1, "body": {"n": 7}}]
    bad = sorted((each["queue"], each["attempts"]) for each in found if each not in good)
    assert bad == [("retried", 1), ("retried", 2), ("retried", 3), ("retried-dead", 1)]


def test_consumers_are_added_and_removed(shell: Shell) -> None:
    """
    `queues consumer` adds, lists and removes; what was sent while there was no consumer is
    delivered to the one that comes; strangers cannot consume.
    """
    for name in ("handed", "handed-dead"):
        shell.run("queues", "create", name)
    configure(shell, "handed", max_batch_size=1)
    shell.run("deploy")
    shell.run("queues", "consumer", "remove", "handed", "handed")
    assert shell.json("queues", "consumer", "list", "handed", "--json") == []
    for n in range(3):
        assert shell.daemon.function("handed", f"/send?body={n}").text == "sent"
    assert "nobody" in shell.run("queues", "consumer", "add", "handed", "nobody", expect=1)
    shell.run(
        *("queues", "consumer", "add", "handed", "handed", "--batch-size", "2"),
        *("--batch-timeout", "0", "--max-concurrency", "1", "--dead-letter-queue", "handed-dead"),
    )
    assert len(seen(shell, "handed", 3)) == 3
    (listed,) = shell.json("queues", "consumer", "list", "handed", "--json")
    assert listed["settings"]["batch_size"] == 2
    assert listed["dead_letter_queue"] == "handed-dead"
    assert "HTTP" in shell.run("queues", "consumer", "http", "add", "handed", expect=1)
    assert "handed" in shell.run("queues", "consumer", "worker", "list", "handed")
    shell.run("queues", "consumer", "worker", "remove", "handed", "handed")
    missing = shell.run("queues", "consumer", "worker", "remove", "handed", "handed", expect=1)
    assert "No worker consumer 'handed' exists" in missing
    assert shell.daemon.function("handed", "/send?body=3").text == "sent"
    again = ("queues", "consumer", "worker", "add", "handed", "handed", "--retry-delay-secs", "3")
    shell.run(*again, "--batch-timeout", "0", "--message-retries", "2")
    assert len(seen(shell, "handed", 4)) == 4
    (listed,) = shell.json("queues", "consumer", "list", "handed", "--json")
    assert (listed["settings"]["max_retries"], listed["settings"]["retry_delay"]) == (2, 3)
    assert "a queue has at most one" in shell.run(*again, expect=1)


def test_delivery_is_paused_and_resumed(shell: Shell) -> None:
    """
    A paused queue takes messages and delivers none; resumed, it delivers what has been waiting, but
    for what was purged.
    """
    for name in ("paused", "paused-dead"):
        shell.run("queues", "create", name)
    configure(shell, "paused")
    shell.run("deploy")
    shell.run("queues", "pause-delivery", "paused")
    shell.daemon.function("paused", "/send?body=1")
    shell.run("queues", "purge", "paused", "--force")
    shell.daemon.function("paused", "/send?body=2")
    assert shell.daemon.function("paused").document == []
    shell.run("queues", "resume-delivery", "paused")
    assert [each["body"] for each in seen(shell, "paused", 1)] == [2]


def test_queues_are_made_changed_and_deleted(shell: Shell) -> None:
    """
    `create`, `list`, `info`, `update` and `delete` do what they say; what is not supported is
    refused by its name.
    """
    shell.run("queues", "create", "plain", "--delivery-delay-secs", "5")
    assert "already exists" in shell.run("queues", "create", "plain", expect=1)
    assert "plain" in shell.run("queues", "list")
    shell.run("queues", "update", "plain", "--delivery-delay-secs", "0")
    (found,) = shell.daemon.api("GET", "/queues?name=plain").result
    assert found["settings"]["delivery_delay"] == 0
    retention = ("--message-retention-period-secs", "60")
    printed = shell.run("queues", "update", "plain", *retention, expect=1)
    assert "message_retention_period" in printed
    assert "subscriptions" in shell.run("queues", "subscription", "list", "plain", expect=1)
    shell.run("queues", "delete", "plain")
    assert "plain" not in shell.run("queues", "list")
    assert "does not exist" in shell.run("queues", "info", "plain", expect=1)
