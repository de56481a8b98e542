"""The same sites here and in `wrangler dev`, which runs what Cloudflare runs: the same answers."""

import http.client
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.assets.sites import WORKER, Site, deploy
from tests.e2e.daemon import BIN, PATIENCE, ROOT, Daemon, free_port, running, until

WRANGLER: Final = ROOT / "node_modules" / "wrangler" / "bin" / "wrangler.js"

FILES: Final = {
    "/index.html": "<h1>home</h1>",
    "/404.html": "<h1>nothing here</h1>",
    "/about.html": "about",
    "/both.html": "both, the file",
    "/both/index.html": "both, the directory",
    "/dir/index.html": "dir",
    "/dir/404.html": "nothing in dir",
    "/dir/page.html": "page",
    "/dir/deep/er/file.txt": "deep",
    "/dotted.name.html": "dotted",
    "/file.txt": "0123456789",
    "/noext": "no extension",
    "/empty.css": "",
    "/data.json": "{}",
    "/app.js": "export {}",
    "/a b.html": "a space",
    "/a%2Fb.txt": "a percent sign",
    "/ümlaut.html": "an umlaut",
    "/index/index.html": "index of index",
    "/x.html/index.html": "a directory like a file",
    "/foo/index": "named index",
    "/img/pixel.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}

REDIRECTS: Final = """
# comment
/old /about 301
/old-external https://example.com/new?x=y#z
/query /file.txt?fixed=1 307
/proxied /dir/page 200
/proxied-none /nowhere 200
/blog/* /dir/:splat
/user/:id/:tab /about?id=:id&tab=:tab 302
/both /file.txt 308
/never /a /b /c
"""

HEADERS: Final = """
/*
  X-Everywhere: yes
  X-Twice: one
/dir/*
  X-Twice: two
  X-Splat: :splat
  Cache-Control: public, max-age=60
/file.txt
  ! X-Everywhere
  Content-Type: text/x-own
/user/:id/*
  X-User: :id
bad line
"""

SITES: Final = (
    Site(
        name="rules",
        files=FILES,
        config={"not_found_handling": "404-page"},
        headers=HEADERS,
        redirects=REDIRECTS,
    ),
    Site(
        name="spa",
        files=FILES,
        config={
            "html_handling": "force-trailing-slash",
            "not_found_handling": "single-page-application",
        },
        worker=WORKER,
    ),
    Site(
        name="first",
        files=FILES,
        config={
            "html_handling": "drop-trailing-slash",
            "run_worker_first": ["/api/*", "/dir/*", "!/dir/page*", "/*.json"],
        },
        headers=HEADERS,
        worker=WORKER,
    ),
    Site(
        name="based",
        files=FILES,
        config={"html_handling": "none", "not_found_handling": "404-page", "base_path": "/docs"},
    ),
    Site(
        name="always",
        files=FILES,
        config={"run_worker_first": True, "base_path": "/docs/"},
        worker=WORKER,
    ),
)

PATHS: Final = (
    "/", "/?a=b", "/index", "/index/", "/index.html", "/index.html?q=1", "/index/index",
    "/index/index.html", "/about", "/about/", "/about.html", "/about/index.html", "/both", "/both/",
    "/both.html", "/both/index.html", "/dir", "/dir/", "/dir/index", "/dir/index.html", "/dir.html",
    "/dir/page", "/dir/page/", "/dir/page.html", "/dir/nothing", "/dir/deep/er/none",
    "/dir/deep/er/file.txt", "/dir/deep", "/dotted.name", "/dotted.name.html", "/file.txt",
    "/file.txt/", "/noext", "/noext/", "/empty.css", "/data.json", "/app.js", "/a%20b",
    "/a%20b.html", "/a%2Fb.txt", "/a%252Fb.txt", "/%C3%BCmlaut", "/%C3%BCmlaut.html", "/%61bout",
    "/x.html", "/x.html/", "/x", "/foo", "/foo/", "/foo/index", "/img/pixel.svg", "/nothing",
    "/nothing/at/all.html", "//about", "/dir//page", "/./about", "/dir/../about", "/%2e%2e/about",
    "/old", "/old/", "/old?x=1", "/old-external?own=1", "/query", "/query?own=1", "/proxied",
    "/proxied-none", "/blog/page", "/blog/x/y?z=1", "/user/7/mail", "/user/7/", "/never",
    "/api/thing", "/through/", "/through/about", "/through/nothing", "/through/file.txt",
    "/docs", "/docs/", "/docs/about.html", "/docs/about", "/docs/nothing", "/docsabout",
    "/through/docs/", "/through/docs/about", "/%", "/%zz", "/about%20", "/ABOUT",
)  # fmt: skip

KINDS: Final[Sequence[tuple[str, Mapping[str, str]]]] = (
    ("GET", {}),
    ("GET", {"Sec-Fetch-Mode": "navigate"}),
    ("HEAD", {}),
    ("POST", {}),
)

IGNORED: Final = frozenset(
    {
        "cf-cache-status",  # nothing is cached here
        "cf-ray",
        "connection",
        "content-length",  # theirs is chunked
        "date",
        "etag",  # dev has its own; that there is one is compared
        "keep-alive",
        "transfer-encoding",
    }
)


@attrs.frozen
class Seen:
    """
    An answer as far as it must be the same.
    """

    status: int
    headers: Mapping[str, str]
    tagged: bool
    body: bytes


def ask(port: int, method: str, path: str, host: str, headers: Mapping[str, str]) -> Seen:
    """
    One request on a connection of its own.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers={"Host": host, **headers})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        kept = {name: value for name, value in found.items() if name not in IGNORED}
        return Seen(response.status, kept, "etag" in found, response.read())
    finally:
        connection.close()


@contextmanager
def wrangler_dev(directory: Path, site: Site) -> Iterator[int]:
    """
    `wrangler dev` with this site; gives its port.
    """
    public = directory / "public"
    for path, text in site.files.items():
        file = public / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if site.headers is not None:
        (public / "_headers").write_text(site.headers)
    if site.redirects is not None:
        (public / "_redirects").write_text(site.redirects)
    document: dict[str, Any] = {
        "name": site.name,
        "compatibility_date": "2026-11-01",
        "assets": {"directory": "public", **site.config},
    }
    if site.worker is not None:
        (directory / "index.js").write_text(site.worker)
        document["main"] = "index.js"
        document["assets"]["binding"] = "ASSETS"
    (directory / "wrangler.json").write_text(json.dumps(document))
    port = free_port()
    environment = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(directory),
        "CI": "1",
        "NO_COLOR": "1",
        "WRANGLER_SEND_METRICS": "false",
        "CLOUDFLARE_CF_FETCH_ENABLED": "false",
    }
    if "NODE_EXTRA_CA_CERTS" in os.environ:
        environment["NODE_EXTRA_CA_CERTS"] = os.environ["NODE_EXTRA_CA_CERTS"]
    arguments = ["dev", "--local", "--ip", "127.0.0.1", "--port", str(port)]
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            [BIN / "node", WRANGLER, *arguments, "--inspector-port", str(free_port())],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield port
        finally:
            process.terminate()


def answers(port: int) -> bool:
    """
    Whether somebody answers there already.
    """
    try:
        ask(port, "GET", "/", f"127.0.0.1:{port}", {})
    except (OSError, http.client.HTTPException):
        return False
    return True


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """
    A daemon of our own.
    """
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, int]]:
    """
    `wrangler dev` for each site.
    """
    with ExitStack() as stack:
        found = {
            site.name: stack.enter_context(wrangler_dev(tmp_path_factory.mktemp(site.name), site))
            for site in SITES
        }
        for name, port in found.items():
            until(lambda port=port: answers(port), f"wrangler dev serves {name}")
        yield found


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_answers_are_those_of_wrangler_dev(
    site: Site, daemon: Daemon, ports: Mapping[str, int]
) -> None:
    """
    Status, headers and body are the same for every path, method and kind of request.
    """
    deployed = deploy(daemon, site)
    assert deployed.document["success"], deployed.document
    theirs_at = ports[site.name]
    differing = []
    for path in PATHS:
        for method, headers in KINDS:
            ours = ask(daemon.port, method, path, f"{site.name}.{daemon.base_domain}", headers)
            theirs = ask(theirs_at, method, path, f"127.0.0.1:{theirs_at}", headers)
            if ours != theirs:
                differing.append((method, path, headers, ours, theirs))
    assert not differing, "\n".join(map(str, differing[:10]))
