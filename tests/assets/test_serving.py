"""Sites served by the whole daemon."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.assets.sites import WORKER, Site, deploy, hash_of, metadata_of, put, upload_files
from tests.e2e.daemon import Answer, Daemon, running, until, workerds_of

FILES = {
    "/index.html": "<h1>home</h1>",
    "/404.html": "<h1>nothing</h1>",
    "/digits.txt": "0123456789",
    "/empty.txt": "",
}
TAG = f'"{hash_of("/digits.txt", b"0123456789")}"'


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """
    A daemon of our own with one site.
    """
    with running() as found:
        site = Site(name="site", files=FILES, config={"not_found_handling": "404-page"})
        assert deploy(found, site).status == 200
        yield found


def digits(daemon: Daemon, **headers: str) -> Answer:
    """
    Ask for the digits with these headers.
    """
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return daemon.function("site", "/digits.txt", headers=sent)


@pytest.mark.parametrize("tag", [TAG, f"W/{TAG}"])
def test_an_unchanged_file_is_not_sent_again(daemon: Daemon, tag: str) -> None:
    """
    If-None-Match with the file's tag, strong or weak, gives 304 without a body.
    """
    answer = digits(daemon, If_None_Match=tag)
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", TAG)
    assert digits(daemon, If_None_Match='"other"').body == b"0123456789"


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "body"),
    [
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=8-100", 206, "bytes 8-9/10", b"89"),
        ("bytes=10-", 416, "bytes */10", b""),
        ("bytes=0-1,4-5", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
        ("bytes=x", 200, None, b"0123456789"),
    ],
)
def test_parts_of_a_file(
    daemon: Daemon, asked: str, status: int, content_range: str | None, body: bytes
) -> None:
    """
    One range is served as such; what is no single range of bytes gives the whole file.
    """
    answer = digits(daemon, Range=asked)
    assert (answer.status, answer.headers.get("content-range")) == (status, content_range)
    assert answer.body == body
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_part_of_a_changed_file_is_not_served(daemon: Daemon) -> None:
    """
    A range is for the file that If-Range names; of another one everything is sent.
    """
    assert digits(daemon, Range="bytes=1-2", If_Range=TAG).status == 206
    assert digits(daemon, Range="bytes=1-2", If_Range=f"W/{TAG}").status == 200
    assert digits(daemon, Range="bytes=1-2", If_Range='"other"').body == b"0123456789"


def test_a_part_of_the_page_for_what_is_not_there_is_all_of_it(daemon: Daemon) -> None:
    """
    The 404 page is sent whole although a range was asked for.
    """
    answer = daemon.function("site", "/none", headers={"Range": "bytes=1-2"})
    assert (answer.status, answer.text) == (404, "<h1>nothing</h1>")


def test_heads_have_the_length_of_the_file(daemon: Daemon) -> None:
    """
    HEAD gives the headers of GET and no body, for an empty file too.
    """
    for path in ("/digits.txt", "/empty.txt", "/none", "/"):
        get, head = (daemon.function("site", path, method=method) for method in ("GET", "HEAD"))
        for answer in (get, head):
            del answer.headers["date"], answer.headers["cf-ray"]
        assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


def test_old_versions_keep_their_files(daemon: Daemon) -> None:
    """
    After a second deploy each version answers on its own host with its own files.
    """
    first = deploy(daemon, Site(name="twice", files={"/index.html": "one"})).result
    second = deploy(daemon, Site(name="twice", files={"/index.html": "two"})).result
    assert daemon.function("twice").text == "two"
    for version, text in ((first, "one"), (second, "two")):
        assert daemon.function(f"{version['version_id'][:8]}.twice").text == text


def test_a_deploy_restarts_nothing(daemon: Daemon) -> None:
    """
    Deploying a site starts and stops no process, neither its own account's nor another's.
    """
    token, account = daemon.new_token("neighbours")
    neighbour = daemon.upload(
        "neighbour", "export default { fetch() { return new Response('n') } }", token=token
    )
    assert neighbour.status in (200, 403)
    daemon.ask("PUT", f"/client/v4/accounts/{account}/workers/scripts/neighbour", token=token)
    daemon.function("site")
    before = sorted(workerds_of(daemon))
    for text in ("x", "y"):
        deploy(daemon, Site(name="again", files={"/index.html": text}))
        assert daemon.function("again").text == text
    after = sorted(workerds_of(daemon))
    assert set(before) & set(after), (before, after)
    assert len(after) == len(before)


def test_a_function_has_its_site(daemon: Daemon) -> None:
    """
    Files come first, everything else goes to the function, which reads the site by env.ASSETS.
    """
    deploy(daemon, Site(name="both", files=FILES, worker=WORKER))
    assert daemon.function("both").text == "<h1>home</h1>"
    assert (
        daemon.function("both", "/api?x=1", method="POST", body=b"b").text == "worker POST /api?x=1"
    )
    assert daemon.function("both", "/through/digits.txt").text == "0123456789"
    through = daemon.function("both", "/through/digits.txt", headers={"Range": "bytes=1-2"})
    assert (through.status, through.text) == (206, "12")
    assert daemon.function("both", "/through/none").status == 404


def test_calls_of_other_functions_meet_the_site_first(daemon: Daemon) -> None:
    """
    A service binding's fetch is answered by the target's files where it has them, and by its code
    where not; a site without code can be called too.
    """
    caller = """
    export default {
      async fetch(request, env) {
        const { pathname } = new URL(request.url);
        const [, target, ...rest] = pathname.split("/");
        const answer = await env[target].fetch("http://x/" + rest.join("/"));
        return new Response(`${answer.status} ${await answer.text()}`);
      },
    };
    """
    deploy(daemon, Site(name="callee", files=FILES, worker=WORKER))
    bindings = [
        {"name": "BOTH", "type": "service", "service": "callee"},
        {"name": "SITE", "type": "service", "service": "site"},
    ]
    assert daemon.upload("caller", caller, bindings=bindings).status == 200
    asked: dict[str, Any] = {
        "/BOTH/": "200 <h1>home</h1>",
        "/BOTH/api": "200 worker GET /api",
        "/SITE/digits.txt": "200 0123456789",
        "/SITE/none": "404 <h1>nothing</h1>",
    }
    for path, text in asked.items():
        assert daemon.function("caller", path).text == text


def test_a_lost_file_is_an_error_and_nothing_else(daemon: Daemon) -> None:
    """
    A file that is gone from the disk gives 500 with the request's id; its siblings are served.
    """
    files = {"/lost.txt": "to be lost", "/kept.txt": "to be kept"}
    deploy(daemon, Site(name="lost", files=files))
    assert daemon.function("lost", "/lost.txt").status == 200
    digest = hash_of("/lost.txt", b"to be lost")
    (stored,) = Path(daemon.directory, "data", "assets").rglob(f"{digest}-*")
    stored.unlink()
    answer = daemon.function("lost", "/lost.txt")
    assert answer.status == 500
    assert answer.document["request_id"] == answer.headers["cf-ray"]
    assert daemon.function("lost", "/kept.txt").text == "to be kept"
    # The next deploy finds that it is missing, and brings it again.
    deploy(daemon, Site(name="lost", files=files))
    assert daemon.function("lost", "/lost.txt").text == "to be lost"


def test_a_damaged_site_is_not_served(daemon: Daemon) -> None:
    """
    When a version's list of files is damaged on the disk, the deployment before it serves.
    """
    for text in ("before", "after"):
        deploy(daemon, Site(name="damaged", files={"/index.html": text}))
    for document in Path(daemon.directory, "data", "bundles").rglob("*"):
        if (
            document.is_file()
            and hash_of("/index.html", b"after").encode() in document.read_bytes()
        ):
            document.write_bytes(b"{}")
    assert daemon.function("damaged").status in (500, 503)
    assert until(lambda: daemon.function("damaged").status == 200, "the one before serves")
    assert daemon.function("damaged").text == "before"


def test_a_site_without_code_takes_no_secrets(daemon: Daemon) -> None:
    """
    A secret for a version that has no code is refused with the reason.
    """
    answer = daemon.api(
        "PUT",
        "/workers/scripts/site/secrets",
        {"name": "S", "text": "t", "type": "secret_text"},
    )
    assert answer.status == 400
    assert "main_module" in answer.document["errors"][0]["message"]


def test_versions_say_that_they_have_assets(daemon: Daemon) -> None:
    """
    The version shows its binding, and the function that it is a site.
    """
    site = Site(name="shown", files=FILES, worker=WORKER)
    document = metadata_of(site, upload_files(daemon, "shown", FILES))
    version = put(daemon, site, document, deploy=False).result
    assert version["resources"]["bindings"] == [{"name": "ASSETS", "type": "assets"}]
    assert daemon.function("shown").status == 404
    assert daemon.function(f"{version['id'][:8]}.shown").text == "<h1>home</h1>"


def test_all_accounts_in_one_cell_have_their_own_files() -> None:
    """
    With shared isolation each account's site is served from its own directory.
    """
    with running(ISOLATION="shared") as daemon:
        deploy(daemon, Site(name="one", files={"/index.html": "of one"}))
        daemon.token, daemon.account = daemon.new_token("other")
        deploy(daemon, Site(name="two", files={"/index.html": "of two"}))
        assert [daemon.function(name).text for name in ("one", "two")] == ["of one", "of two"]
        assert len(list(Path(daemon.directory, "data", "assets").iterdir())) == 2
