"""What a function sees of a request, and what a client sees of a function's misfortune."""

import re

from tests.e2e.daemon import Daemon, until

ECHO = """
export default {
  async fetch(request) {
    return Response.json({
      url: request.url, method: request.method, cf: request.cf,
      headers: Object.fromEntries(request.headers), body: await request.text(),
    });
  },
};
"""


def test_a_function_sees_its_own_url_and_its_client(daemon: Daemon) -> None:
    """
    The URL is the original one, the client's address and the request id are there.
    """
    daemon.upload("echo", ECHO)
    answer = daemon.function("echo", "/a%20b?c=d", method="POST", body=b"hello")
    seen = answer.document
    assert seen["url"] == "http://echo.faas.test/a%20b?c=d"
    assert (seen["method"], seen["body"]) == ("POST", "hello")
    assert seen["headers"]["cf-connecting-ip"] == "127.0.0.1"
    assert seen["headers"]["x-forwarded-proto"] == "http"
    ray = seen["headers"]["cf-ray"]
    assert re.fullmatch("[0-9a-f]{16}", ray)
    assert answer.headers["cf-ray"] == ray
    assert ray in daemon.log


def test_headers_that_we_vouch_for_cannot_be_forged(daemon: Daemon) -> None:
    """
    What a client sends under our names never reaches a function.
    """
    daemon.upload("echo", ECHO)
    forged = {
        "CF-Connecting-IP": "6.6.6.6",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "CF-Ray": "evil",
        "Wfaas-Cf": '{"version":"evil","evil":1}',
        "Connection": "keep-alive, cf-connecting-ip, wfaas-cf",
    }
    seen = daemon.function("echo", headers=forged).document
    assert "evil" not in str(seen)
    assert "6.6.6.6" not in str(seen)
    assert seen["url"] == "http://echo.faas.test/"


def test_an_exception_is_a_page_with_the_request_id(daemon: Daemon) -> None:
    """
    The client gets 500, the request id and no detail; the detail is in the function's own log.
    """
    daemon.upload(
        "thrower",
        "export default { fetch() { console.log('before'); throw new Error('very secret'); } };",
    )
    answer = daemon.function("thrower")
    ray = answer.headers["cf-ray"]
    assert answer.status == 500
    assert ray in answer.text
    assert "secret" not in answer.text
    page = daemon.function("thrower", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cf-ray"] in page.text

    def trace() -> object:
        kept = daemon.api("GET", "/workers/scripts/thrower/logs").result
        return next((t for t in kept if t["event"]["request"]["headers"]["cf-ray"] == ray), None)

    found = until(trace, "the invocation is in the function's log")
    assert found["outcome"] == "exception"
    assert found["exceptions"][0]["message"] == "very secret"
    assert found["logs"][0]["message"] == ["before"]
    token, _ = daemon.new_token("strangers")
    assert daemon.api("GET", "/workers/scripts/thrower/logs", token=token).status == 403


def test_hosts_that_are_nobodys_get_a_clear_404(daemon: Daemon) -> None:
    """
    Only the exact base domain is the API; hosts beside it and unknown functions are a JSON 404.
    """
    daemon.upload("echo", ECHO)
    for host in (
        "nobody.faas.test",
        "echofaas.test",
        "echo-faas.test",
        "evil.example",
        "a.b.c.faas.test",
    ):
        answer = daemon.ask("GET", "/health", host=host)
        assert answer.status == 404, host
        assert answer.document["success"] is False
    for host in ("FAAS.TEST", f"faas.test:{daemon.port}"):
        assert daemon.ask("GET", "/health", host=host).status == 200
    for host in ("ECHO.Faas.Test", f"echo.faas.test:{daemon.port}"):
        assert daemon.ask("GET", "/", host=host).status == 200
    for host in ("", "x" * 300, "a..faas.test", ".echo.faas.test", "\xe4.faas.test"):
        assert daemon.ask("GET", "/", host=host or " ").status == 400, host


def test_version_ids_cannot_be_searched(daemon: Daemon) -> None:
    """
    Short prefixes match nothing, and after some misses a client has to wait.
    """
    version = daemon.upload("hidden", ECHO, deploy=False).result["id"]
    for prefix in (version[0], version[:4], version[:7], "_" * 8, "%"):
        assert daemon.function(f"{prefix}.hidden").status in {400, 404}
    statuses = {daemon.function(f"{n:08x}.hidden").status for n in range(60)}
    assert 429 in statuses


def test_egress_is_what_the_operator_allowed(daemon: Daemon) -> None:
    """
    The platform itself, metadata services and private networks are out of a function's reach.
    """
    daemon.upload(
        "reach",
        """
        import { connect } from "cloudflare:sockets";
        export default { async fetch(request) {
          const target = new URL(request.url).searchParams.get("t");
          try {
            if (target.startsWith("tcp:")) {
              const socket = connect(target.slice(4));
              await socket.opened;
              return new Response("reached");
            }
            return new Response("reached " + (await fetch(target)).status);
          } catch (error) { return new Response("blocked"); }
        } };
        """,
    )
    for target in (
        "http://169.254.169.254/", "http://10.0.0.1/", "http://127.0.0.2:1/", "http://[::1]:1/",
        "http://192.168.0.1/", "http://[fd00:ec2::254]/", "http://0.0.0.1/", "tcp:127.0.0.2:22",
        "tcp:10.0.0.1:5432",
    ):  # fmt: skip
        assert daemon.function("reach", f"/?t={target}").text == "blocked", target
    allowed = daemon.function("reach", f"/?t=http://127.0.0.1:{daemon.port}/health")
    assert allowed.text.startswith("reached")
