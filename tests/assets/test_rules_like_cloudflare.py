"""Our readers of a site's rules against Cloudflare's own, on written and on random files."""

import json
import random
import subprocess
from typing import Any, Final

from tests.e2e.daemon import BIN, ROOT
from workerd_faas.wire.site.headers_file import parse_headers
from workerd_faas.wire.site.redirects_file import parse_redirects
from workerd_faas.wire.site.routing import BadRouting, parse_routing

_PROGRAM: Final = ROOT / "tests" / "assets" / "cloudflare_rules.mjs"
_BUNDLE: Final = ROOT / "node_modules" / "miniflare" / "dist" / "src" / "index.js"

REDIRECTS: Final = [
    "",
    "# nothing\n\n  \n",
    "/a /b\n/a /c\n/b /d 301\n/c https://example.com/x?y=z#w 308\r\n/d /e 200",
    "/a/* /b/:splat 302\n/static /later\n/:x/y /z/:x 303\n/a/* /again",
    "/a /b 404\n/a /b abc\n/a\n/a /b 301 more\n/a /b # comment\n/a /b 301 # comment",
    "a/b /c\nhttps://x.y/z /w\nhttps://x.y:8080/z /w\n/x //host/path\n/y ftp://z\n/z http://a/b",
    "/* /index.html 200\n/x/* /index 200\n/ /index.html\n/q/ /index\n/w/* https://h/index.html",
    "/p /q 200\n/ü /straße\n/a%20b /c%2Fd\n/a/../b /c/./d/..\n/%2e%2E/x /y/%2e\n/a//b /c//d",
    "/s<p>a`ce{} /x\"y\n/a?b=c /d?e=f#g\n/a#b /c#d\n/^ /|\n/a\\b /c\\d\n/'x' /!$&()+,;=:@~[]",
    "/long " + "/x" * 999 + "\n/longer " + "/x" * 1000 + "\n/ok /yes",
    "\n".join(f"/s{i} /t{i}" for i in range(2005)),
    "\n".join(f"/d{i}/* /t{i}/:splat" for i in range(103)) + "\n/after /x",
    "/p /q https\n/proxy https://elsewhere/x 200\n/proxy /again",
    "\ufeff/bom /x\n\u00a0/nbsp\u2003/em",
]

HEADERS: Final = [
    "",
    "/a\n  X-A: b\n  x-a: c\n  ! X-Gone\n/b\n/c\n  Y: z: w",
    "X: too early\n/x\n no colon\n : no name\n nothing:\n with space: x\n!Y\n! Z\n",
    "https://example.com/*\n  A: b\nhttps://example.com:8080/x\n  C: d\nftp://x/\n  E: f",
    "/*/*\n  A: b\n/x/:splat/*\n  C: d\n/x/:splatter/*\n E: f\n/:p/:q\n G: :p-:q",
    "/same\n A: 1\n/same\n B: 2\n# comment\n/a b c\n X: y\n/\u00fc\n X: \u00fc",
    "\n".join(f"/r{i}\n  N: {i}" for i in range(105)),
    "/l\n  A: " + "x" * 1995 + "\n  B: " + "x" * 1990 + "\n",
    "/a\n  Link: </x>; rel=preload, </y>; rel=preload\n  x-policy: default-src 'self'",
    "/a\n link:https://x/y\n  B: c",
]

ROUTING: Final[list[list[str]]] = [
    ["/api/*"],
    ["/api/*", "!/api/docs/*"],
    ["!/x"],
    [],
    ["api"],
    ["!api", "/x"],
    ["/a", "/a"],
    ["/a/*", "/a/b"],
    ["/" + "x" * 99],
    ["/" + "x" * 100],
    [f"/{i}" for i in range(100)],
    [f"/{i}" for i in range(101)],
    ["/*", "!/assets/*", "!/x*"],
]

_PIECES: Final = [
    "/", "/a", "/b/", "*", ":x", ":splat", ".", "..", "%2e", " ", "  ", "\t", "\n", "\r\n", "#",
    "?", "=", "302", "200", "301", "https://h.example", ":80", "X-Y: ", "! ", ":", "index.html",
    "/index", "ü", "\u2028", '"', "<", "^", "|", "\\", "{", "a b",
]  # fmt: skip


def cloudflare(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    What Cloudflare's readers make of them.
    """
    done = subprocess.run(
        [BIN / "node", _PROGRAM, _BUNDLE],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _random_texts(count: int) -> list[str]:
    chance = random.Random(7)
    return [
        "".join(chance.choice(_PIECES) for _ in range(chance.randrange(1, 60)))
        for _ in range(count)
    ]


def test_redirects_are_read_as_cloudflare_reads_them() -> None:
    """
    The same rules in the same order, and as many lines ignored, with and without HTML handling.
    """
    texts = [*REDIRECTS, *_random_texts(3000)]
    for handling in (None, "none"):
        cases = [{"kind": "redirects", "text": t, "html_handling": handling} for t in texts]
        for text, theirs in zip(texts, cloudflare(cases), strict=True):
            static, dynamic, ignored = parse_redirects(text, handling)
            assert list(static.items()) == list(theirs["static"].items()), text
            assert list(dynamic.items()) == list(theirs["dynamic"].items()), text
            assert len(ignored) == theirs["ignored"], (text, ignored)


def test_headers_are_read_as_cloudflare_reads_them() -> None:
    """
    The same rules in the same order, but for headers that HTTP does not allow, which are left out.
    """
    texts = [*HEADERS, *_random_texts(3000)]
    cases = [{"kind": "headers", "text": text} for text in texts]
    compared = 0
    for text, theirs in zip(texts, cloudflare(cases), strict=True):
        rules, ignored = parse_headers(text)
        if any("not a header" in each.why for each in ignored) or "! " in text:
            continue
        compared += 1
        assert list(rules.items()) == list(theirs["rules"].items()), text
        assert len(ignored) == theirs["ignored"], (text, ignored)
    assert compared > 1000


def test_a_rule_takes_headers_away() -> None:
    """
    `! Name` unsets a header, as it does at Cloudflare; a name that HTTP does not allow is ignored.
    """
    text = "/a\n  ! X-Gone\n  A: b\n/b\n  ! Y\n"
    (theirs,) = cloudflare([{"kind": "headers", "text": text}])
    rules, ignored = parse_headers(text)
    assert (dict(rules), ignored) == (theirs["rules"], [])
    rules, ignored = parse_headers("/a\n  ! not a name\n")
    assert not rules
    assert [each.line for each in ignored] == [2, 1]


def test_routing_is_read_as_cloudflare_reads_it() -> None:
    """
    The same patterns are accepted, and the same lists refused.
    """
    cases = [{"kind": "routing", "rules": rules} for rules in ROUTING]
    for rules, theirs in zip(ROUTING, cloudflare(cases), strict=True):
        try:
            routing = parse_routing(rules)
        except BadRouting:
            assert "error" in theirs, rules
        else:
            ours = {"assets": list(routing.assets), "worker": list(routing.worker)}
            assert ours == theirs, rules
