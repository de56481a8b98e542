"""Data points that functions write, and what the API says of them."""

from typing import Any

import pytest

from tests.e2e.daemon import Daemon, running, until

CODE = """
export default {
  async fetch(request, env) {
    const { searchParams } = new URL(request.url);
    const wrong = {
      blobs: { blobs: Array(21).fill("x") },
      large: { blobs: ["x".repeat(16385)] },
      doubles: { doubles: [NaN] },
      index: { indexes: ["x".repeat(97)] },
      indexes: { indexes: ["a", "b"] },
      text: "text",
    }[searchParams.get("wrong")];
    try {
      if (wrong !== undefined) env.DATA.writeDataPoint(wrong);
    } catch (error) {
      return new Response(`${error.name} ${error.message}`);
    }
    const count = Number(searchParams.get("count"));
    let said;
    for (let n = 0; n < count; n++) {
      if (n % 100 === 99) await scheduler.wait(1);
      const blobs = ["grüß", null, new TextEncoder().encode("bytes").buffer];
      said = env.DATA.writeDataPoint({ blobs, doubles: [n, 0.5], indexes: ["shop"] });
    }
    return new Response(String(said));
  },
};
"""


def bind(dataset: str) -> list[dict[str, Any]]:
    """
    A binding as Wrangler sends it.
    """
    return [{"name": "DATA", "type": "analytics_engine", "dataset": dataset}]


def count(daemon: Daemon, dataset: str, query: str = "") -> int:
    """
    How many points the API counts.
    """
    found: int = daemon.api("GET", f"/analytics_engine/{dataset}/count{query}").result["count"]
    return found


@pytest.mark.parametrize("date", ["2021-11-02", "2026-11-17"])
def test_points_are_kept_and_counted(daemon: Daemon, date: str) -> None:
    """
    Every point of a function comes to the API with all it says, and writing gives nothing back.
    """
    dataset = f"sales_{date[:4]}"
    daemon.upload("seller", CODE, bindings=bind(dataset), compatibility_date=date)
    assert daemon.function("seller", "/?count=100").text == "undefined"
    until(lambda: count(daemon, dataset) == 100, "all points are there")
    points = daemon.api("GET", f"/analytics_engine/{dataset}/points?limit=2").result
    assert [point["doubles"] for point in points] == [[99, 0.5], [98, 0.5]]
    assert points[0]["blobs"] == ["grüß", None, "bytes"]
    assert (points[0]["indexes"], points[0]["function"]) == (["shop"], "seller")
    assert {"dataset": dataset, "count": 100} in daemon.api("GET", "/analytics_engine").result
    assert count(daemon, dataset, "?since=2100-01-01T00:00:00Z") == 0
    assert count(daemon, dataset, "?since=2020-01-01&until=2100-01-01") == 100
    assert daemon.api("GET", f"/analytics_engine/{dataset}/count?since=soon").status == 400


def test_another_account_has_its_own(daemon: Daemon) -> None:
    """
    A dataset of the same name in another account is another one, and ours is forbidden to it.
    """
    daemon.upload("mine", CODE, bindings=bind("shared"))
    daemon.function("mine", "/?count=1")
    until(lambda: count(daemon, "shared") == 1, "the point is there")
    token, account = daemon.new_token("strangers")
    theirs = daemon.ask(
        "GET", f"/client/v4/accounts/{account}/analytics_engine/shared/count", token=token
    )
    assert theirs.result["count"] == 0
    assert daemon.api("GET", "/analytics_engine/shared/count", token=token).status == 403


@pytest.mark.parametrize("wrong", ["blobs", "large", "doubles", "index", "indexes", "text"])
def test_a_wrong_point_is_an_error_of_the_caller(daemon: Daemon, wrong: str) -> None:
    """
    What is beyond the bounds throws, as workerd does.
    """
    daemon.upload("careless", CODE, bindings=bind("careless"))
    said = daemon.function("careless", f"/?wrong={wrong}").text
    assert said.startswith("TypeError writeDataPoint(): ")


def test_a_flood_is_bounded(daemon: Daemon) -> None:
    """
    A function that writes twenty thousand points at once is answered and keeps a bounded number of
    them; what is written after it comes through.
    """
    daemon.upload("flood", CODE, bindings=bind("flood"))
    daemon.upload("calm", CODE, bindings=bind("calm"))
    assert daemon.function("flood", "/?count=20000").status == 200
    assert 0 < until(lambda: count(daemon, "flood"), "some of the flood is there") <= 20000

    def calm() -> bool:
        daemon.function("calm", "/?count=1")
        return count(daemon, "calm") > 0

    until(calm, "a calm function's point is there")


def test_a_dataset_has_a_name(daemon: Daemon) -> None:
    """
    A wrong one is refused with the binding's.
    """
    refused = daemon.upload("wrong", CODE, bindings=bind("a b"))
    assert refused.status == 400
    assert "'DATA'" in refused.document["errors"][0]["message"]


FORGER = """
const join = Array.prototype.join;
export default {
  async fetch(request, env) {
    const account = new URL(request.url).search.slice(1);
    const other = { account, function: "f", dataset: "theirs" };
    const point = '{"index":"","blobs":["forged"],"doubles":[]}';
    Array.prototype.join = function () {
      Array.prototype.join = join;
      return `${point}]},{"of":${JSON.stringify(other)},"points":[${point}`;
    };
    env.DATA.writeDataPoint({ blobs: ["forged"] });
    await scheduler.wait(0);
    env.DATA.writeDataPoint({ blobs: ["honest"] });
    return new Response("written");
  },
};
"""


def test_nobody_writes_in_the_name_of_another_account() -> None:
    """
    A function that writes what its binding sends itself adds no points to another account's data,
    also where both run in one process, and does not lose those of others.
    """
    with running(ISOLATION="shared") as daemon:
        token, account = daemon.new_token("others")
        daemon.upload("forger", FORGER, bindings=bind("ours"))
        assert daemon.function("forger", f"/?{account}").text == "written"
        until(lambda: count(daemon, "ours") == 1, "the honest point is there")
        path = f"/client/v4/accounts/{account}/analytics_engine/theirs/count"
        assert daemon.ask("GET", path, token=token).result["count"] == 0
