"""
Functions that hang, eat memory or end their process, on a daemon as an operator runs it: whoever
is beside them goes on, and they are quarantined.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.e2e.daemon import Daemon, running, until

HELLO = "export default { fetch() { return new Response('hello') } }"
SPIN = "export default { fetch() { for (;;); } }"
REGEX = "export default { fetch() { return new Response(/^(a+)+$/.test('a'.repeat(40) + '!')) } }"
MICROTASKS = "export default { async fetch() { for (;;) await null; } }"
CRASH = "export default { fetch() { 'x'.repeat(2 ** 27 + 1).split('') } }"
HEAP = """
export default { fetch() {
  const all = [];
  for (;;) all.push("s".repeat(1e6) + Math.random()), all.at(-1).charCodeAt(5);
} }
"""
NATIVE = """
export default { fetch() {
  const bytes = new Uint8Array(40 << 20);
  for (let at = 0; at < bytes.length; at += 2) bytes.set([0xc3, 0xa4], at);
  return new Response(new TextDecoder().decode(bytes).length);
} }
"""
LATER = """
export default { fetch(request, env, ctx) {
  ctx.waitUntil(scheduler.wait(50).then(() => { for (;;); }));
  return new Response("soon");
} }
"""
PAUSES = """
export default { async fetch() {
  for (;;) {
    const end = Date.now() + 50;
    while (Date.now() < end);
    await scheduler.wait(0);
  }
} }
"""
TERMINATED, QUARANTINED = 10505, 10506


@pytest.fixture(scope="module")
def bad() -> Iterator[Daemon]:
    """
    A daemon for functions that nobody would want beside others.
    """
    with running() as daemon:
        yield daemon


def account_beside(daemon: Daemon, name: str = "beside") -> Daemon:
    """
    The same daemon for somebody else.
    """
    token, account = daemon.new_token(name)
    return attrs.evolve(daemon, token=token, account=account)


@attrs.define
class Innocents:
    """
    Somebody asks functions that do no harm, all the time.
    """

    daemon: Daemon
    functions: tuple[str, ...]
    seen: Counter[tuple[str, int]] = attrs.Factory(Counter)
    _stop: threading.Event = attrs.Factory(threading.Event)
    _threads: list[threading.Thread] = attrs.Factory(list)

    def __enter__(self) -> "Innocents":
        for function in self.functions:
            thread = threading.Thread(target=self._ask, args=(function,))
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, function: str) -> None:
        while not self._stop.wait(0.02):
            self.seen[function, self.daemon.function(function).status] += 1


def standing(daemon: Daemon, function: str) -> str:
    """
    How a function stands.
    """
    found: str = daemon.api("GET", f"/workers/scripts/{function}/quarantine").result["standing"]
    return found


@pytest.mark.parametrize(
    ("name", "code", "termination"),
    [
        ("spin", SPIN, "cpu"),
        ("regex", REGEX, "cpu"),
        ("microtasks", MICROTASKS, "cpu"),
        ("crash", CRASH, "crash"),
        ("heap", HEAP, "memory"),
        ("native", NATIVE, "memory"),
    ],
)
def test_it_is_quarantined_and_others_go_on(
    bad: Daemon, name: str, code: str, termination: str
) -> None:
    """
    A function that ends its process is told why each time and quarantined after three, while no
    request to another function fails, of its account or of another one; a new deploy frees it.
    """
    beside = account_beside(bad)
    bad.upload("sibling", HELLO)
    beside.upload("stranger", HELLO)
    bad.upload(name, code)
    codes: list[int] = []
    with Innocents(bad, ("sibling", "stranger")) as innocents:
        until(lambda: len(innocents.seen) == 2, "both are asked")
        while QUARANTINED not in codes and len(codes) < 6:
            answer = bad.function(name)
            assert answer.status == 503, answer
            assert answer.headers["x-workerd-faas-termination"] == termination
            assert int(answer.headers["retry-after"]) >= 1
            codes.append(answer.document["errors"][0]["code"])
        # A GET is tried once more when others may have done it.
        assert codes[-1] == QUARANTINED
        assert 2 <= codes.count(TERMINATED) <= 4
        assert standing(bad, name) == "quarantined"
        assert standing(bad, "sibling") == "free"
        after = innocents.seen.copy()
        until(lambda: all(innocents.seen[each] > after[each] for each in after), "they go on")
    assert set(innocents.seen) == {("sibling", 200), ("stranger", 200)}
    assert f"{name} is quarantined now" in bad.log
    assert bad.ask("GET", "/health").document["runtime"]["quarantined"] == 1
    assert [each["name"] for each in bad.api("GET", "/workers/status").result["functions"]] == [
        name
    ]
    assert beside.api("GET", "/workers/status").result["functions"] == []
    bad.upload(name, HELLO)
    assert bad.function(name).text == "hello"
    assert standing(bad, name) == "free"


def test_many_that_crash_one_after_the_other(bad: Daemon) -> None:
    """
    However many functions of an account crash their common process once, it is there for those that
    did not: once its culprits run elsewhere a process has no reason to wait.
    """
    bad = account_beside(bad, "crashing")
    bad.upload("steady", HELLO)
    for n in range(10):
        bad.upload(f"crashing{n}", CRASH)
        answer = bad.function(f"crashing{n}")
        assert answer.document["errors"][0]["code"] == TERMINATED, answer
    assert bad.function("steady").text == "hello"


def test_a_deploy_that_spins_where_it_is_loaded(bad: Daemon) -> None:
    """
    A version that passes the upload check and spins when it is loaded beside others, before anybody
    asks for it, fails no request to these, and it is the one that is found guilty.
    """
    bad = account_beside(bad, "warming")
    bad.upload("neighbour", HELLO)
    bad.upload("warmed", HELLO)
    assert bad.function("warmed").text == "hello"
    code = f"import {{ env }} from 'cloudflare:workers'; while (env.NEIGHBOUR.fetch); {HELLO}"
    with Innocents(bad, ("neighbour",)) as innocents:
        until(lambda: innocents.seen.total() > 100, "the process has answered since then")
        ends = bad.log.count("ended: cpu")
        binding = {"type": "service", "name": "NEIGHBOUR", "service": "neighbour"}
        assert bad.upload("warmed", code, bindings=[binding]).status == 200
        until(lambda: bad.log.count("ended: cpu") > ends, "its process ends")
        until(lambda: standing(bad, "warmed") == "suspect", "it is suspected")
        until(lambda: bad.function("warmed").document["errors"][0]["code"] == QUARANTINED, "guilty")
        assert standing(bad, "neighbour") == "free"
    assert set(innocents.seen) == {("neighbour", 200)}


def test_work_after_the_answer(bad: Daemon) -> None:
    """
    A function whose answer is complete before it spins is found out all the same, and its owner can
    release it.
    """
    bad.upload("sibling", HELLO)
    bad.upload("later", LATER)

    def asked() -> bool:
        bad.function("sibling")
        answer = bad.function("later")
        assert answer.status in (200, 503)
        return answer.status == 503 and answer.document["errors"][0]["code"] == QUARANTINED

    until(asked, "it is quarantined")
    assert bad.function("sibling").text == "hello"
    released = bad.api("DELETE", "/workers/scripts/later/quarantine").result
    assert released == {"name": "later", "standing": "free", "released": True}
    assert standing(bad, "later") == "free"


def test_a_callee_is_quarantined_for_its_callers_too(bad: Daemon) -> None:
    """
    Who calls a quarantined function by a binding gets an exception, and goes on.
    """
    bad.upload("callee", CRASH)
    caller = """
    export default { async fetch(request, env) {
      if (!request.url.endsWith("/call")) return new Response("alive");
      try { return await env.CALLEE.fetch(request) } catch (error) {
        return new Response(error.message);
      }
    } }
    """
    binding = {"type": "service", "name": "CALLEE", "service": "callee"}
    bad.upload("caller", caller, bindings=[binding])
    assert bad.function("caller").text == "alive"
    until(lambda: bad.function("callee").document["errors"][0]["code"] == QUARANTINED, "quarantine")
    assert "quarantined" in bad.function("caller", "/call").text
    assert bad.function("caller").text == "alive"
    assert standing(bad, "caller") == "free"


def pids(daemon: Daemon) -> list[int]:
    """
    Processes that run functions of the daemon's account.
    """
    found = []
    for line in daemon.log.splitlines():
        if f" of {daemon.account}" in line and "is ready, pid " in line:
            found.append(int(line.rpartition(" ")[2]))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_nobody_is_blamed_for_what_others_did(bad: Daemon, number: signal.Signals) -> None:
    """
    A process that is killed or stopped from outside is replaced, no request that can be repeated
    fails, and no function is suspected.
    """
    name = f"outside-{number}"
    mine = account_beside(bad, name)
    mine.upload(name, HELLO)
    assert mine.function(name).status == 200
    with Innocents(mine, (name,)) as innocents:
        for _ in range(2):
            before = pids(mine)
            os.kill(before[-1], number)
            until(lambda before=before: len(pids(mine)) > len(before), "there is another process")
            # Nothing is tried a third time, so nothing must be in flight twice.
            answered = sum(innocents.seen.values())
            until(lambda answered=answered: sum(innocents.seen.values()) > answered + 1, "answers")
    assert set(innocents.seen) == {(name, 200)}
    assert mine.api("GET", "/workers/status").result["functions"] == []


def test_cpu_time_with_pauses() -> None:
    """
    A function that computes all the time, with pauses in which others are answered, is ended when
    its process has used up its CPU time.
    """
    with running(CELL_CPU="2s", CELL_CPU_WINDOW="20s") as daemon:
        daemon.upload("pauses", PAUSES)
        answer = daemon.function("pauses")
        assert answer.status == 503
        assert answer.headers["x-workerd-faas-termination"] == "cpu"


def test_time_to_answer() -> None:
    """
    A function that does not answer in time is a 504 that says so, and learns of it.
    """
    code = """
    let aborted = false;
    export default { async fetch(request) {
      if (request.url.endsWith("/aborted")) return Response.json(aborted);
      request.signal.addEventListener("abort", () => { aborted = true });
      await scheduler.wait(60_000);
    } }
    """
    with running(RESPONSE_TIMEOUT="1s") as daemon:
        daemon.upload("slow", code, compatibility_flags=["enable_request_signal"])
        answer = daemon.function("slow")
        assert (answer.status, answer.document["errors"][0]["code"]) == (504, 10504)
        assert answer.headers["x-workerd-faas-termination"] == "timeout"
        until(lambda: daemon.function("slow", "/aborted").document, "the function is told")


def ring(daemon: Daemon, target: str) -> str:
    """
    A function that asks another one over the network, and passes its answer on.
    """
    return f"""
    export default {{ async fetch(request) {{
      const headers = {{ "x-forwarded-host": "{target}.{daemon.base_domain}" }};
      const answer = await fetch("http://127.0.0.1:{daemon.port}/", {{ headers }});
      return new Response(await answer.text(), {{ status: answer.status }});
    }} }}
    """


def test_a_ring_over_the_network_ends() -> None:
    """
    Two functions that ask each other by their public addresses are stopped when as many requests
    are in flight as their account may have: all get the 429, nothing stays in flight, and both can
    be asked again.
    """
    with running(
        EGRESS_ALLOW="127.0.0.1/32",
        USE_FORWARDED_HOST="true",
        TRUSTED_PROXIES="127.0.0.1/32",
        ACCOUNT_CONCURRENCY="30",
    ) as daemon:
        daemon.upload("ping", ring(daemon, "pong"))
        daemon.upload("pong", ring(daemon, "ping"))
        daemon.upload("sibling", HELLO)
        for name in ("ping", "pong", "ping"):
            forwarded = {"X-Forwarded-Host": f"{name}.{daemon.base_domain}"}
            answer = daemon.ask("GET", "/", headers=forwarded)
            assert (answer.status, answer.document["errors"][0]["code"]) == (429, 10429)
            status: Any = daemon.api("GET", "/workers/status").result
            assert status["in_flight"] == 0
        served = status["processes"][0]["served"]
        assert served == 3 * 30
        forwarded = {"X-Forwarded-Host": f"sibling.{daemon.base_domain}"}
        assert daemon.ask("GET", "/", headers=forwarded).text == "hello"


def test_settings_of_limits() -> None:
    """
    Rates, bodies and heads are held to what the settings say.
    """
    code = """
    export default { async fetch(request) {
      const size = (await request.arrayBuffer()).byteLength;
      const large = new URL(request.url).searchParams.get("head");
      return new Response(size, { headers: { "x-large": "x".repeat(+large) } });
    } }
    """
    with running(
        FUNCTION_RATE="0.2", MAX_REQUEST_BODY="1KiB", MAX_RESPONSE_HEADER="2KiB"
    ) as daemon:
        for name in ("body", "head", "rate"):
            daemon.upload(name, code)
        assert daemon.function("body", method="POST", body=b"x" * 1025).status == 413
        assert daemon.function("body", method="POST", body=b"x" * 1024).text == "1024"
        assert daemon.function("head", "/?head=3000").status == 502
        began = time.monotonic()
        assert daemon.function("rate", "/?head=1000").status == 200
        answer = daemon.function("rate")
        if time.monotonic() - began < 4:
            assert answer.status == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 5
