"""One Worker on two platforms: `wrangler dev`, and the daemon after `wrangler deploy`."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

import attrs

from tests.e2e.daemon import BIN, PATIENCE, ROOT, Daemon, free_port, running, until
from tests.e2e.wrangling import WRANGLER, environment, wrangler

HERE: Final = Path(__file__).parent
NAME: Final = "compat"
SECRET: Final = "a secret: é ∂"
CRON: Final = "* * * * *"
VARS: Final = {
    "TEXT": "hello",
    "EMPTY": "",
    "UNICODE": "é ∂ 😀",
    "NUMBER": 7,
    "FRACTION": 1.5,
    "YES": True,
    "NOTHING": None,
    "LIST": [1, "a", None],
    "OBJECT": {"deep": {"er": [True]}},
}
DATABASE: Final = {
    "scheme": "postgresql",
    "host": "127.0.0.1",
    "port": 5432,
    "database": "shop",
    "user": "clerk",
    "password": "open-sesame",
}


@attrs.frozen
class Answer:
    """
    An answer, with its header fields as they came but for the case of their names.
    """

    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    body: bytes


@attrs.frozen(kw_only=True)
class Platform:
    """
    Where the Worker runs.

    Attributes:
        port: On loopback.
        name: Of the host, as the Worker sees it.
        scheduled: Starts its schedule; None: the clock does.
    """

    port: int
    name: str
    scheduled: str | None = None

    @property
    def host(self) -> str:
        """
        What `Host` says.
        """
        return f"{self.name}:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Answer:
        """
        One request on a connection of its own, with these fields and `Host` alone.

        Raises:
            OSError, HTTPException: there was no whole answer.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", self.host)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            found = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, response.reason, found, response.read())
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        """
        The document at a path.
        """
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return json.loads(answer.body)


def project(directory: Path, ids: Mapping[str, str]) -> tuple[Path, Path]:
    """
    The two projects, with the configurations that both platforms take; gives their directories.
    """
    shutil.copytree(HERE, directory / "compatibility", ignore=shutil.ignore_patterns("*.py"))
    shutil.copytree(HERE.parent / "state" / "same", directory / "state" / "same")
    worker, other = directory / "compatibility" / "worker", directory / "compatibility" / "other"
    common = {"compatibility_date": "2026-11-01", "compatibility_flags": ["nodejs_compat"]}
    told = {"binding": "TOLD", "id": ids["told"]}
    document = {
        "name": NAME,
        "main": "index.js",
        **common,
        "vars": VARS,
        "kv_namespaces": [{"binding": "KV", "id": ids["kv"]}, told],
        "d1_databases": [{"binding": "D1", "database_name": "db", "database_id": ids["d1"]}],
        "queues": {
            "producers": [
                {"binding": "QUEUE", "queue": "plain"},
                {"binding": "EVENTS", "queue": "events"},
            ],
            "consumers": [{"queue": "events", "max_batch_timeout": 1, "max_retries": 3}],
        },
        "services": [
            {"binding": "OTHER", "service": "other"},
            {
                "binding": "NAMED",
                "service": "other",
                "entrypoint": "Named",
                "props": {"who": "compat", "n": [1, {"deep": True}]},
            },
        ],
        "tail_consumers": [{"service": "other"}],
        "ratelimits": [
            {"name": "LIMITER", "namespace_id": "1", "simple": {"limit": 2, "period": 60}}
        ],
        "analytics_engine_datasets": [{"binding": "POINTS", "dataset": "points"}],
        "hyperdrive": [
            {
                "binding": "HYPERDRIVE",
                "id": ids["hyperdrive"],
                "localConnectionString": "postgres://clerk:open-sesame@127.0.0.1:5432/shop",
            }
        ],
        "version_metadata": {"binding": "VERSION"},
        "assets": {"directory": "public", "binding": "ASSETS"},
        "triggers": {"crons": [CRON]},
    }
    (worker / "wrangler.json").write_text(json.dumps(document))
    (worker / "public" / "ü.txt").write_text("umlaut")
    (worker / ".dev.vars").write_text(f'SECRET="{SECRET}"\n')
    document = {"name": "other", "main": "index.js", **common, "kv_namespaces": [told]}
    (other / "wrangler.json").write_text(json.dumps(document))
    return worker, other


def resources(daemon: Daemon) -> dict[str, str]:
    """
    What the bindings name, made; by a word for each.
    """
    database = {"name": "db", "origin": DATABASE}
    for queue in ("plain", "events"):
        assert daemon.api("POST", "/queues", {"queue_name": queue}).status == 200
    return {
        "kv": daemon.api("POST", "/storage/kv/namespaces", {"title": "kv"}).result["id"],
        "told": daemon.api("POST", "/storage/kv/namespaces", {"title": "told"}).result["id"],
        "d1": daemon.api("POST", "/d1/database", {"name": "db"}).result["uuid"],
        "hyperdrive": daemon.api("POST", "/hyperdrive/configs", database).result["id"],
    }


@contextmanager
def both(directory: Path) -> Iterator[tuple[Platform, Platform]]:
    """
    The Worker here and in `wrangler dev`.
    """
    with running(dev=True, HYPERDRIVE_ALLOW="127.0.0.1/32") as daemon:
        worker, other = project(directory, resources(daemon))
        with wrangler_dev(directory, worker, other) as theirs:
            variables = environment(directory / "home", daemon)
            wrangler(other, variables, "deploy")
            wrangler(worker, variables, "deploy")
            wrangler(worker, variables, "secret", "put", "SECRET", stdin=SECRET)
            until(lambda: answers(theirs), "wrangler dev answers")
            yield Platform(port=daemon.port, name=f"{NAME}.localhost"), theirs


@contextmanager
def wrangler_dev(directory: Path, *projects: Path) -> Iterator[Platform]:
    """
    `wrangler dev --local` with several projects, the first of which answers.
    """
    port = free_port()
    home = directory / "dev-home"
    home.mkdir()
    variables = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(home),
        "CI": "1",
        "NO_COLOR": "1",
        "WRANGLER_SEND_METRICS": "false",
        "CLOUDFLARE_CF_FETCH_ENABLED": "false",
    }
    if "NODE_EXTRA_CA_CERTS" in os.environ:
        variables["NODE_EXTRA_CA_CERTS"] = os.environ["NODE_EXTRA_CA_CERTS"]
    arguments = [word for one in projects for word in ("-c", str(one / "wrangler.json"))]
    arguments += ["--local", "--ip", "127.0.0.1", "--port", str(port)]
    with (
        (directory / "dev.log").open("wb") as log,
        subprocess.Popen(
            [BIN / "node", WRANGLER, "dev", *arguments, "--inspector-port", str(free_port())],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield Platform(
                port=port,
                name="localhost",  # No other may start the schedule.
                scheduled="/cdn-cgi/handler/scheduled?cron=*+*+*+*+*",
            )
        finally:
            process.terminate()


def answers(platform: Platform) -> bool:
    """
    Whether it answers already.
    """
    try:
        return platform.ask("GET", "/text").status == 200
    except (OSError, HTTPException):
        return False
