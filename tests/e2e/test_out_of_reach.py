"""
The platform's own sockets are out of reach: a deployed function, asked through the public port,
tries all ways that there are to them.
"""

import ipaddress
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.e2e.daemon import BIN, Daemon, directory, workerds_of
from tests.e2e.names import Names, answering
from workerd_faas.runtime import egress

ALLOWED: Final = "127.0.0.9"
"""The one address of this machine that functions may reach: to see that the attempts can work."""

TRIES: Final = """
import { connect } from "cloudflare:sockets";
import net from "node:net";
import http from "node:http";

const within = (promise) => Promise.race([promise,
  scheduler.wait(3000).then(() => { throw new Error("timeout") })]);

async function outcome(what) {
  try { await within(what()); return "reached" } catch (error) { return "refused" }
}

const ways = {
  fetch: async (t) => { await (await fetch(t.url)).arrayBuffer() },
  redirected: async (t) => {
    const answer = await fetch(`${t.redirector}?to=${encodeURIComponent(t.url)}`);
    if (!answer.redirected) throw new Error("not redirected");
  },
  websocket: async (t) => {
    const answer = await fetch(t.url, { headers: { Upgrade: "websocket" } });
    if (answer.status >= 500) throw new Error("nobody there");
  },
  connect: async (t) => { await connect({ hostname: t.host, port: t.port }).opened },
  connect_text: async (t) => { await connect(`${t.host}:${t.port}`).opened },
  tls: async (t) => {
    const socket = connect({ hostname: t.host, port: t.port }, { secureTransport: "starttls" });
    await socket.opened;
  },
  node_net: (t) => new Promise((yes, no) => {
    const socket = net.connect(t.port, t.host.replace(/[[\\]]/g, ""));
    socket.on("connect", yes); socket.on("error", no);
  }),
  node_http: (t) => new Promise((yes, no) => {
    http.get(t.url, (answer) => { answer.resume(); yes() }).on("error", no);
  }),
};

export default { async fetch(request) {
  const targets = await request.json();
  const seen = {};
  await Promise.all(targets.flatMap((target) => Object.entries(ways).map(async ([name, way]) => {
    (seen[target.url] ??= {})[name] = await outcome(() => way(target));
  })));
  return Response.json(seen);
} };
"""

PATHS: Final = """
import { connect } from "cloudflare:sockets";
export default { async fetch(request) {
  const paths = await request.json();
  const said = {};
  const tried = async (what) => {
    try { await what(); return "reached" } catch { return "refused" }
  };
  for (const path of paths) {
    const ways = [`unix:${path}`, `unix://${path}`, path, `http://unix:${path}/`,
      `http://unix:${path}:/`, `http+unix://${encodeURIComponent(path)}/`, `file://${path}`,
      `unix:${path}:80`, `unix-abstract:${path}`];
    said[path] = [];
    for (const way of ways) {
      said[path].push(await tried(() => fetch(way)));
      said[path].push(await tried(() => connect(way).opened));
      said[path].push(await tried(() => connect({ hostname: way, port: 80 }).opened));
    }
  }
  return Response.json(said);
} };
"""


class _Witness(threading.Thread):
    """
    Listens on a port of all addresses of this machine and of the allowed one: counts who comes, and
    sends those who come to the allowed one elsewhere if they ask for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.everywhere = socket.create_server(
            ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
        )
        self.port: int = self.everywhere.getsockname()[1]
        self.came: list[str] = []
        self.start()

    def run(self) -> None:
        """
        Until the port is closed.
        """
        while True:
            try:
                client, _ = self.everywhere.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,)).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            here = ipaddress.ip_address(client.getsockname()[0])
            mapped = here.ipv4_mapped if isinstance(here, ipaddress.IPv6Address) else None
            self.came.append(str(mapped or here))
            client.settimeout(10)
            head = client.recv(65536).split(b"\r\n")[0]
            _, _, to = head.partition(b"?to=")
            where = to.split(b" ")[0].replace(b"%3A", b":").replace(b"%2F", b"/")
            where = where.replace(b"%5B", b"[").replace(b"%5D", b"]")
            status = b"302 Found\r\nLocation: " + where if where else b"200 OK"
            client.sendall(
                b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )

    def close(self) -> None:
        """
        Wait until nobody is served.
        """
        self.everywhere.shutdown(socket.SHUT_RDWR)
        self.everywhere.close()
        self.join()


@attrs.define
class _NamedDaemon(Daemon):
    """
    A daemon whose machine has other names: with a mount namespace of its own.
    """

    hosts: str = ""
    resolver: str = ""

    def launch(self) -> "subprocess.Popen[bytes]":
        """
        See `Daemon`.
        """
        hosts, resolver = self.directory / "hosts", self.directory / "resolv.conf"
        hosts.write_text(f"127.0.0.1 localhost\n{self.hosts}")
        resolver.write_text(f"nameserver {self.resolver}\noptions timeout:1 attempts:2\n")
        mounts = f"mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf"
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh",
                    BIN / "twistd", "-n", "--pidfile=", "workerd-faas",
                ],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self.process


def own_addresses() -> list[str]:
    """
    This machine's, but loopback.
    """
    found = [block[0] for block in egress.own_addresses() if not block.is_loopback]
    return [str(address) for address in found if not address.is_link_local]


def spellings() -> list[str]:
    """
    Hosts of URLs that mean this machine, whoever reads them.
    """
    hosts = [
        "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
        "017700000001", "127.0.0.1.", "127.255.255.254", "0.0.0.0", "0", "localhost", "LOCALHOST.",
        "①②⑦.⓪.⓪.①", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]",
        "[::ffff:0:127.0.0.1]", "foo.localhost", socket.gethostname(),
    ]  # fmt: skip
    for address in own_addresses():
        hosts.append(f"[{address}]" if ":" in address else address)
        if ":" not in address:
            hosts += [str(int(ipaddress.IPv4Address(address))), f"[::ffff:{address}]"]
    return hosts


@pytest.fixture(scope="module")
def witness() -> Iterator[_Witness]:
    """
    Who sees what arrives.
    """
    with closing(_Witness()) as started:
        yield started


@contextmanager
def named(hosts: str, resolver: str) -> Iterator[Daemon]:
    """
    A daemon on all addresses whose machine knows these names.
    """
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can give a process other names")
    with directory() as path:
        daemon = _NamedDaemon(path, hosts=hosts, resolver=resolver)
        daemon.settings |= {
            "EGRESS_ALLOW": f"{ALLOWED}/32",
            "LISTEN": f"tcp6:{daemon.port}",
            "ACCESS_LOG": "true",
        }
        try:
            yield daemon.start()
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


def attempts(daemon: Daemon, witness: _Witness, hosts: list[str]) -> dict[str, dict[str, str]]:
    """
    What the function reaches: each host at the port of the daemon and at that of the witness.
    """
    targets = [
        {
            "host": host,
            "port": port,
            "url": f"http://{host}:{port}/marked",
            "redirector": f"http://{ALLOWED}:{witness.port}/marked",
        }
        for host in hosts
        for port in (daemon.port, witness.port)
    ]
    seen: dict[str, dict[str, str]] = {}
    # Few at a time: a browser would not do otherwise.
    for start in range(0, len(targets), 6):
        body = json.dumps(targets[start : start + 6]).encode()
        seen |= daemon.function("tries", method="POST", body=body).document
    return seen


def test_no_spelling_of_this_machine(witness: _Witness) -> None:
    """
    Neither `fetch`, redirects, WebSockets, `connect()`, TLS nor Node's modules reach this machine
    under any spelling or name of it; all of them reach the one address that is allowed, and what
    they refuse does not arrive.
    """
    names = "".join(f"{address} mine.test\n" for address in ["127.0.0.1", *own_addresses()])
    with named(names + f"{ALLOWED} allowed.test\n", "127.0.0.1") as daemon:
        daemon.upload("tries", TRIES, compatibility_flags=["nodejs_compat"])
        witness.came.clear()
        control = attempts(daemon, witness, [ALLOWED, "allowed.test"])
        for url, found in control.items():
            if f":{witness.port}/" in url:
                assert set(found.values()) == {"reached"}, (url, found)
        assert set(witness.came) == {ALLOWED}

        witness.came.clear()
        marked = daemon.log.count("/marked")
        seen = attempts(daemon, witness, [*spellings(), "mine.test"])
        reached = {
            (url, way)
            for url, found in seen.items()
            for way, outcome in found.items()
            if outcome != "refused"
        }
        assert reached == set()
        assert len(seen) == 2 * len({*spellings(), "mine.test"})
        assert set(witness.came) == {ALLOWED}  # The redirector, and nobody else.
        assert daemon.log.count("/marked") == marked


def test_names_that_change_their_minds(witness: _Witness) -> None:
    """
    A name that leads elsewhere first and to this machine at the next question (DNS rebinding), or
    to both at once, reaches nothing of this machine.
    """
    public = "192.31.196.77"  # Globally reachable, and nobody's: AS112.
    answers = {
        "rebind.test": [[public], ["127.0.0.1"]],
        "both.test": [["127.0.0.1", public]],
        "allowed-then-not.test": [[ALLOWED], ["127.0.0.1"]],
        "loopback.test": [["127.0.0.1"]],
    }
    try:
        context = answering(answers)
        names = context.__enter__()
    except OSError:
        pytest.skip("this process may not listen on the port of DNS")
    try:
        _rebind(witness, names)
    finally:
        context.__exit__(None, None, None)


def _rebind(witness: _Witness, names: Names) -> None:
    with named("", names.address) as daemon:
        daemon.upload("tries", TRIES, compatibility_flags=["nodejs_compat"])
        witness.came.clear()
        for _ in range(2):
            seen = attempts(daemon, witness, ["rebind.test", "both.test", "loopback.test"])
            assert {way for found in seen.values() for way in found.values()} == {"refused"}
        assert set(witness.came) <= {ALLOWED}
        assert names.asked["rebind.test"] > 1

        first = attempts(daemon, witness, ["allowed-then-not.test"])
        assert "reached" in {way for found in first.values() for way in found.values()}
        assert set(witness.came) == {ALLOWED}


def test_no_path_of_a_socket(witness: _Witness) -> None:
    """
    A function that knows the paths of the platform's unix sockets, its own cell's and others',
    reaches none of them in any notation.
    """
    with named("", "127.0.0.1") as daemon:
        daemon.upload("paths", PATHS)
        made = daemon.api("POST", "/storage/kv/namespaces", {"title": "some"}).result
        kept = f"/storage/kv/namespaces/{made['id']}/values/key"
        assert daemon.api("PUT", kept, body=b"value").status == 200, daemon.log
        token, account = daemon.new_token("another")
        other = attrs.evolve(daemon, token=token, account=account)
        other.upload("theirs", "export default { fetch() { return new Response('x') } }")
        assert daemon.function("theirs").text == "x"
        daemon.function("paths", method="POST", body=b"[]")
        sockets = [str(path) for path in (daemon.directory / "data").rglob("*") if path.is_socket()]
        relative = sorted({Path(path).name for path in sockets})
        assert len(sockets) > 6, sockets
        assert {"api", "h", "d", "s"} <= set(relative)
        body = json.dumps([*sockets, *relative, "/proc/self/cwd/d", "./d"]).encode()
        seen: dict[str, list[str]] = daemon.function("paths", method="POST", body=body).document
        assert {outcome for found in seen.values() for outcome in found} == {"refused"}
        assert len(workerds_of(daemon)) > 3


def test_the_host_header_leads_nowhere_else(witness: _Witness) -> None:
    """
    A function that may reach the platform's own port, since the operator has named its address,
    is a stranger there like any other: nothing of what it sends vouches for anything.
    """
    code = """
    export default { async fetch(request) {
      const url = await request.text();
      const answer = await fetch(url, { headers: { Host: "faas.test", "wfaas-cf": "{}",
        "X-Forwarded-Proto": "https", "CF-Worker": "me" } });
      return Response.json([answer.status, await answer.text()]);
    } };
    """
    with named("", "127.0.0.1") as daemon:
        daemon.upload("host", code)
        url = f"http://{ALLOWED}:{daemon.port}/client/v4/user".encode()
        status, text = daemon.function("host", method="POST", body=url).document
        assert status in (400, 401, 404), text
        assert witness.is_alive()
