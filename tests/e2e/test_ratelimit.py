"""Rate limits, enforced for real functions."""

from typing import Any

import pytest

from tests.e2e.daemon import Daemon

CODE = """
export default {
  async fetch(request, env) {
    const key = new URL(request.url).searchParams.get("key");
    try {
      const { success } = await env.LIMITER.limit({ key: key === "long" ? "x".repeat(9999) : key });
      return new Response(String(success));
    } catch (error) {
      return new Response(`${error.name}: ${error.message}`, { status: 400 });
    }
  },
};
"""


def limiter(namespace: str, limit: int = 3) -> list[dict[str, Any]]:
    """
    A binding as Wrangler sends it.
    """
    simple = {"limit": limit, "period": 60}
    binding = {"name": "LIMITER", "type": "ratelimit", "namespace_id": namespace, "simple": simple}
    return [binding]


def passed(daemon: Daemon, name: str, key: str) -> bool:
    """
    Whether one more of this key may pass.
    """
    answer = daemon.function(name, f"/?key={key}")
    assert answer.text in ("true", "false"), answer
    return answer.text == "true"


@pytest.mark.parametrize("date", ["2021-11-02", "2026-11-17"])
def test_a_limit_is_held_by_key(daemon: Daemon, date: str) -> None:
    """
    No more than the limit passes of one key, whatever its length; another key has its own count.
    """
    name = f"limited-{date[:4]}"
    daemon.upload(name, CODE, bindings=limiter(name), compatibility_date=date)
    for key in ("a", "b", "long"):
        assert [passed(daemon, name, key) for _ in range(5)] == [True] * 3 + [False] * 2


def test_a_namespace_is_the_accounts_own(daemon: Daemon) -> None:
    """
    Two functions of an account share a namespace; the same id of another account is another one.
    """
    daemon.upload("shares-1", CODE, bindings=limiter("7", 2))
    daemon.upload("shares-2", CODE, bindings=limiter("7", 2))
    assert passed(daemon, "shares-1", "k")
    assert passed(daemon, "shares-2", "k")
    assert not passed(daemon, "shares-1", "k")
    token, account = daemon.new_token("strangers")
    ours, daemon.account = daemon.account, account
    try:
        daemon.upload("shares-not", CODE, bindings=limiter("7", 2), token=token)
    finally:
        daemon.account = ours
    assert passed(daemon, "shares-not", "k")


def test_a_limiter_wants_a_key(daemon: Daemon) -> None:
    """
    A key that is no text is a mistake of the caller.
    """
    code = CODE.replace('key === "long" ? "x".repeat(9999) : key', "7")
    daemon.upload("keyless", code, bindings=limiter("8"))
    assert daemon.function("keyless").text.startswith("Error: invalid key: 7")


@pytest.mark.parametrize(
    "wrong",
    [
        {"simple": {"limit": 0, "period": 60}},
        {"simple": {"limit": 1.5, "period": 60}},
        {"simple": {"limit": 10, "period": 30}},
        {"simple": {"limit": True, "period": 10}},
        {"simple": None},
        {"namespace_id": 7},
    ],
)
def test_a_wrong_limit_is_refused_by_name(daemon: Daemon, wrong: dict[str, Any]) -> None:
    """
    The upload says which binding is wrong and what would be right.
    """
    refused = daemon.upload("wrong", CODE, bindings=[{**limiter("1")[0], **wrong}])
    assert refused.status == 400
    assert "'LIMITER'" in refused.document["errors"][0]["message"]
