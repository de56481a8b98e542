"""A daemon as an operator runs it: `twistd -n workerd-faas` in a process of its own."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).resolve().parents[2]
BIN: Final = Path(sys.executable).parent
PATIENCE: Final = 120.0
"""Seconds after which something that should happen at once counts as never happening."""


@attrs.frozen
class Answer:
    """
    A response, read whole.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """
        The body as text.
        """
        return self.body.decode()

    @property
    def document(self) -> Any:
        """
        The body as JSON.
        """
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        """
        The result in Cloudflare's envelope.
        """
        assert self.document["success"], self.document
        return self.document["result"]


def free_port() -> int:
    """
    A TCP port on loopback that nobody listens on at this moment.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(condition: Any, what: str, patience: float = PATIENCE) -> Any:
    """
    Poll until `condition()` is true, and return what it gave.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"it never happened: {what}")


@attrs.frozen
class User:
    """
    An ordinary user of this machine.

    Attributes:
        python: An interpreter that he can run; that of the tests may be in root's own directory.
        path: Where that interpreter finds ours and what we need.
    """

    uid: int
    python: str
    path: str


@attrs.define
class Daemon:
    """
    One data directory and the daemon on it, which can be stopped, killed and started again.
    """

    directory: Path
    port: int = attrs.Factory(free_port)
    settings: dict[str, str] = attrs.Factory(dict)
    dev: bool = False
    process: subprocess.Popen[bytes] | None = None
    token: str = ""
    account: str = ""
    user: User | None = None

    @property
    def base_domain(self) -> str:
        """
        The base domain of this daemon.
        """
        return "localhost" if self.dev else "faas.test"

    @property
    def url(self) -> str:
        """
        The API as a client on this machine reaches it.
        """
        return f"http://localhost:{self.port}" if self.dev else f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """
        What the daemon and the operator's commands are started with.
        """
        made = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(self.directory),
            "DATA_DIR": str(self.directory / "data"),
            "LISTEN": f"tcp:{self.port}:interface=127.0.0.1",
        }
        if not self.dev:
            made |= {
                "BASE_DOMAIN": self.base_domain,
                "PUBLIC_URL": f"http://{self.base_domain}:{self.port}",
                "JWT_SECRET": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "OIDC_ISSUER": "http://127.0.0.1:1",
                "OIDC_CLIENT_ID": "workerd-faas",
                "OIDC_CLIENT_SECRET": "a-secret-of-the-provider-for-tests-only",
            }
        if self.user is not None:
            made["PYTHONPATH"] = self.user.path
        return made | self.settings

    def program(self, name: str) -> list[str]:
        """
        One of ours, as this daemon's user can run it.
        """
        return [*([] if self.user is None else [self.user.python]), str(BIN / name)]

    @property
    def identity(self) -> dict[str, Any]:
        """
        For `subprocess`: whose process the daemon and the operator's commands are.
        """
        if self.user is None:
            return {}
        return {"user": self.user.uid, "group": self.user.uid, "extra_groups": []}

    @property
    def log(self) -> str:
        """
        What the daemon has said so far.
        """
        return (self.directory / "log").read_text("utf-8", "replace")

    def start(self) -> "Daemon":
        """
        Start it and wait until it is healthy.
        """
        self.launch()
        until(self.is_healthy, "the daemon is healthy")
        if not self.token:
            self.token, self.account = self.new_token("tests")
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """
        Start it without waiting.
        """
        arguments = ["--dev"] if self.dev else []
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program("twistd"), "-n", "--pidfile=", "workerd-faas", *arguments],
                cwd=self.directory,
                env=self.environment,
                **self.identity,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def is_healthy(self) -> bool:
        """
        Whether /health says so; fails at once when the process has ended.
        """
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended:\n{self.log}"
        try:
            return self.ask("GET", "/health").status == 200
        except OSError:
            return False

    def stop(self) -> int:
        """
        SIGTERM; returns the exit status.
        """
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """
        SIGKILL.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def connection(self) -> socket.socket:
        """
        A connection to its port.
        """
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def operator(self, *arguments: str) -> str:
        """
        Run `workerd-faas …` with the daemon's environment; returns what it printed.
        """
        if self.dev:
            arguments = (*arguments, "--dev")
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*self.program("workerd-faas"), *arguments],
            cwd=self.directory,
            env=self.environment,
            **self.identity,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_token(self, account: str) -> tuple[str, str]:
        """
        A token and the id of the operator-made account of this name.
        """
        made = json.loads(self.operator("token", "create", "--account", account, "--json"))
        return made["token"], made["account_id"]

    def ask(
        self,
        method: str,
        path: str,
        *,
        host: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """
        One request on a connection of its own; `host` is the base domain unless given.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            sent = {"Host": host or self.base_domain, **(headers or {})}
            if token is not None:
                sent["Authorization"] = f"Bearer {token}"
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, document: Any = None, **more: Any) -> Answer:
        """
        Ask the API for `/accounts/<ours><path>` with our token.
        """
        body = None if document is None else json.dumps(document).encode()
        more = {"token": self.token, "body": body, **more}
        return self.ask(method, f"/client/v4/accounts/{self.account}{path}", **more)

    def function(self, name: str, path: str = "/", **more: Any) -> Answer:
        """
        Ask a function, by its labels below the base domain.
        """
        return self.ask(more.pop("method", "GET"), path, host=f"{name}.{self.base_domain}", **more)

    def upload(
        self, name: str, code: str, *, deploy: bool = True, token: str = "", **metadata: Any
    ) -> Answer:
        """
        Upload one ES module, and deploy it unless told otherwise.
        """
        document = {
            "main_module": "index.js",
            "compatibility_date": "2026-11-01",
            **metadata,
        }
        content_type, body = multipart(
            ("metadata", None, json.dumps(document).encode()),
            ("index.js", "application/javascript+module", code.encode()),
        )
        method, path = ("PUT", "") if deploy else ("POST", "/versions")
        return self.api(
            method,
            f"/workers/scripts/{name}{path}",
            body=body,
            headers={"Content-Type": content_type},
            **({"token": token} if token else {}),
        )


def multipart(*parts: tuple[str, str | None, bytes]) -> tuple[str, bytes]:
    """
    Content type and body of a form; a part is its name, content type and content.
    """
    lines = []
    for name, content_type, content in parts:
        head = f'--BB\r\nContent-Disposition: form-data; name="{name}"'
        if content_type is not None:
            head += f'; filename="{name}"\r\nContent-Type: {content_type}'
        lines += [head.encode(), b"\r\n\r\n", content, b"\r\n"]
    return "multipart/form-data; boundary=BB", b"".join([*lines, b"--BB--\r\n"])


@contextmanager
def running(*, dev: bool = False, user: User | None = None, **settings: str) -> Iterator[Daemon]:
    """
    A started daemon in a directory of its own, stopped and removed at the end.
    """
    with directory(user) as path:
        daemon = Daemon(path, settings=settings, dev=dev, user=user)
        try:
            yield daemon.start()
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


@contextmanager
def directory(owner: User | None = None) -> Iterator[Path]:
    """
    An empty directory with a short path.
    """
    path = Path(tempfile.mkdtemp(prefix="wfaas-test-", dir="/tmp"))
    if owner is not None:
        os.chown(path, owner.uid, owner.uid)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def workerds_of(daemon: Daemon) -> list[int]:
    """
    Process ids of all workerd processes that belong to this daemon's directories.
    """
    mine = os.fsencode(daemon.directory)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"workerd" in command.split(b"\0")[0] and mine in command:
                found.append(int(entry.name))
    return found
