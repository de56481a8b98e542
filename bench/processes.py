"""What is measured: workerd, the relay in front of it, nginx in front of it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from bench.load import HOST, Load, put
from bench.rounds import spent

HELLO: Final = "export default { fetch() { return new Response('hello\\n'); } };"
VERSION: Final = "11111111-2222-4333-8444-555555555555"

_LOADER: Final = """\
const code = {
  compatibilityDate: "2026-01-01", mainModule: "worker.js", env: {},
  modules: { "worker.js": WORKER } };
export default { fetch(request, env) {
  return env.LOADER.get("hello", () => ({ ...code, globalOutbound: env.INTERNET }))
    .getEntrypoint().fetch(request);
} };
"""

_WORKERD: Final = """\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "internet", network = (allow = ["public"], tlsOptions = (trustBrowserCas = true))),
    (name = "main", worker = (
      modules = [(name = "{name}.js", esModule = embed "{name}.js")],
      bindings = [(name = "INTERNET", service = "internet"){loader}],
      compatibilityDate = "2026-01-01"))],
  {flags}
  sockets = [(name = "http", address = "unix:{directory}/{name}", service = "main",
    http = (cfBlobHeader = "wfaas-cf", forwardedProtoHeader = "wfaas-proto"))]);
"""

_FLAGS: Final = 'v8Flags = ["--expose-gc-as=__workerd_faas_gc", "--initial-heap-size=16"],'
"""Those that cells have, so that like is compared with like."""

_NGINX: Final = """\
{user}
worker_processes 1; daemon off; master_process off;
pid {directory}/{name}.pid; error_log {directory}/{name}.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream cell {{ server unix:{cell}; keepalive 256; keepalive_requests 1000000000; }}
  {responder}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://cell; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header CF-Ray $request_id;
      proxy_set_header CF-Connecting-IP $remote_addr;
      proxy_set_header CF-Visitor '{{"scheme":"http"}}';
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header wfaas-proto $scheme;
      proxy_set_header wfaas-cf '{cf}';
      add_header CF-Ray $request_id;
    }}
  }}
}}
"""

_RESPONDER: Final = """\
server {{ listen unix:{directory}/fast; location / {{ default_type text/plain; return 200 "hello\\n"; }} }}
"""  # noqa: E501


def route_and_cf(version: str = VERSION, function: str = "hello") -> str:
    """
    What the relay tells a cell of a request.
    """
    told = {"version": version, "function": function, "httpProtocol": "HTTP/1.1"}
    return json.dumps(told, separators=(",", ":"))


def as_the_relay(cf: str) -> tuple[str, ...]:
    """
    The lines that the relay adds to a request, for whoever asks a cell directly.
    """
    return (
        f"x-forwarded-host: {HOST}",
        "cf-connecting-ip: 127.0.0.1",
        "x-real-ip: 127.0.0.1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        'cf-visitor: {"scheme":"http"}',
        "wfaas-proto: http",
        f"wfaas-cf: {cf}",
        "cf-ray: 0123456789abcdef",
    )


@attrs.frozen
class Target:
    """
    Something that answers.

    Attributes:
        address: A port, or the path of a unix socket.
        pids: Whose processor time is its, by name.
        headers: Lines that its requests have besides.
        hosts: Whom the connections ask, in turn.
    """

    name: str
    address: str
    pids: Mapping[str, int]
    headers: Sequence[str] = ()
    hosts: Sequence[str] = (HOST,)

    def cpu(self) -> Mapping[str, float]:
        """
        See `rounds.Target`.
        """
        return {name: spent(pid) for name, pid in self.pids.items()}

    def put(self, connections: int, seconds: float) -> Load:
        """
        See `rounds.Target`.
        """
        return put(
            self.address,
            connections=connections,
            seconds=seconds,
            hosts=self.hosts,
            headers=self.headers,
        )


def free_port() -> int:
    """
    A port that nobody listens on.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def find_workerd() -> str | None:
    """
    The project's own, or the one in `WORKERD`.
    """
    own = sorted(Path("node_modules/@cloudflare").glob("workerd-*/bin/workerd"))
    return os.environ.get("WORKERD") or (str(own[0]) if own else shutil.which("workerd"))


@contextlib.contextmanager
def _running(name: str, address: str, command: list[str], directory: Path) -> Iterator[int]:
    log = directory / f"{name}.out"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            _wait_for(address, process, log)
            yield process.pid
        finally:
            process.kill()
            process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(400):
        if process.poll() is not None:
            raise RuntimeError(log.read_text("utf-8", "replace"))
        with contextlib.suppress(OSError), _connected(address):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {address}")


def _connected(address: str) -> socket.socket:
    if address.isdigit():
        return socket.create_connection(("127.0.0.1", int(address)), 1)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    return sock


@contextlib.contextmanager
def workerd(
    name: str, binary: str, directory: Path, *, loader: bool = False, by_path: bool = False
) -> Iterator[Target]:
    """
    A Worker on the unix socket of this name: a static one, or behind the shortest Worker that there
    is to load it.

    Args:
        by_path: It is loaded once for each path that is asked for.
    """
    source = _LOADER.replace("WORKER", json.dumps(HELLO)) if loader else HELLO
    if by_path:
        source = source.replace('"hello", (', "new URL(request.url).pathname, (")
    (directory / f"{name}.js").write_text(source)
    config = directory / f"{name}.capnp"
    bound = ', (name = "LOADER", workerLoader = ())' if loader else ""
    config.write_text(_WORKERD.format(directory=directory, name=name, loader=bound, flags=_FLAGS))
    command = [binary, "serve", "--experimental", str(config)]
    address = str(directory / name)
    with _running(name, address, command, directory) as pid:
        yield Target(name, address, {"cell": pid}, as_the_relay(route_and_cf()))


@contextlib.contextmanager
def relay(name: str, directory: Path, cell: Path) -> Iterator[Target]:
    """
    Ours, alone in a process.
    """
    port = str(free_port())
    command = [sys.executable, "-m", "bench.relayd", port, str(cell)]
    with _running(name, port, command, directory) as pid:
        yield Target(name, port, {"relay": pid})


@contextlib.contextmanager
def nginx(
    name: str,
    directory: Path,
    cell: Path,
    *,
    responder: bool = False,
    cf: str | None = None,
    host: str = HOST,
    cell_pid: int | None = None,
) -> Iterator[Target]:
    """
    nginx doing the same.

    Args:
        responder: It also answers by itself on the unix socket `fast`.
        cf: What it tells the cell.
    """
    port = str(free_port())
    file = name.replace(", ", "-")
    config = directory / f"{file}.conf"
    config.write_text(
        _NGINX.format(
            user="user root;" if os.getuid() == 0 else "",
            directory=directory,
            name=file,
            cell=cell,
            port=port,
            cf=cf or route_and_cf(),
            responder=_RESPONDER.format(directory=directory) if responder else "",
        )
    )
    binary = shutil.which("nginx")
    assert binary is not None
    with _running(name, port, [binary, "-c", str(config)], directory) as pid:
        pids = {"relay": pid} | ({"cell": cell_pid} if cell_pid else {})
        yield Target(name, port, pids, hosts=(host,))
