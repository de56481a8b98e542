"""A function that is called very much gets a process of its own, and nobody notices."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs

from tests.e2e.daemon import PATIENCE, Daemon, running, until, workerds_of
from tests.e2e.test_restarts import restart

CODE = """
export default {
  fetch(request, env) {
    if (request.url.endsWith("/say")) console.log("said it");
    return new Response(env.NUMBER + env.SECRET);
  },
};
"""


def deploy(daemon: Daemon, number: int) -> None:
    """
    One more version, which answers with this.
    """
    bindings = [
        {"type": "json", "name": "NUMBER", "json": number},
        {"type": "secret_text", "name": "SECRET", "text": "!"},
    ]
    assert daemon.upload("hot", CODE, bindings=bindings).status == 200


def promoted(daemon: Daemon) -> set[int]:
    """
    The processes of promoted functions.
    """
    return {pid for pid in workerds_of(daemon) if Path(f"/proc/{pid}/cwd/p").exists()}


def logs(daemon: Daemon) -> str:
    """
    What the function's log has.
    """
    return daemon.api("GET", "/workers/scripts/hot/logs").text


@attrs.define
class Crowd:
    """
    Clients that ask as fast as they can; every answer must be one of a version that was deployed
    when the request was sent, or later.
    """

    daemon: Daemon
    oldest: int = 0
    asked: int = 0
    failed: list[str] = attrs.Factory(list)
    _over: threading.Event = attrs.Factory(threading.Event)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
        with closing(connection):
            try:
                while not self._over.is_set():
                    self._ask_once(connection)
            except Exception as error:  # noqa: BLE001 - every failure counts
                self.failed.append(repr(error))

    def _ask_once(self, connection: http.client.HTTPConnection) -> None:
        oldest = self.oldest
        connection.request("GET", "/", headers={"Host": f"hot.{self.daemon.base_domain}"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, (response.status, body)
        assert body.endswith(b"!"), body
        assert int(body[:-1]) >= oldest, (body, oldest)
        self.asked += 1

    @contextmanager
    def asking(self) -> Iterator[None]:
        """
        Four of them.
        """
        threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(PATIENCE)

    def until_promoted(self) -> None:
        """
        Wait until the function runs in a process of its own.
        """
        until(lambda: self.failed or promoted(self.daemon), "it is promoted")
        self.more()

    def more(self) -> None:
        """
        Wait until there were some more requests.
        """
        before = self.asked
        until(lambda: self.failed or self.asked > before + 100, "requests are answered")


def test_nobody_notices() -> None:
    """
    While a function is promoted, deployed anew, restarted and loses its process's place, no request
    fails, none is answered by a version that was replaced before it was sent, and what it says is
    in its log.
    """
    with running() as daemon:
        deploy(daemon, 0)
        crowd = Crowd(daemon)
        with crowd.asking():
            crowd.until_promoted()
            first = promoted(daemon)
            assert restart(daemon, "hot")["failed"] == 0
            crowd.more()
            for number in range(1, 6):
                deploy(daemon, number)
                crowd.oldest = number
                crowd.more()
            until(lambda: crowd.failed or promoted(daemon) - first, "the new one is promoted")
            assert daemon.function("hot", "/say").text == "5!"
            until(lambda: "said it" in logs(daemon), "it is in the log")
            crowd.more()
        assert crowd.failed == []
