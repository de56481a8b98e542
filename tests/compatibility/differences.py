"""
What differs between a function here and in `wrangler dev`, and why: the one place that says so.

A difference that is not here fails a test, and so does one that is here and does not show.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

import attrs


@attrs.frozen(kw_only=True)
class Difference:
    """
    Attributes:
        subject: See `SUBJECTS`.
        what: Patterns (fnmatch) of what was tried; each names at least one difference.
        title: What they have in common, for readers; the first pattern if it is not given.
    """

    subject: str
    what: Sequence[str]
    here: str
    there: str
    why: str
    title: str = ""

    def covers(self, subject: str, what: str) -> bool:
        """
        Whether this is the difference.
        """
        return subject == self.subject and any(fnmatchcase(what, one) for one in self.what)


@attrs.frozen(kw_only=True)
class Field:
    """
    A header field that is on one side only in every request or answer, and is not compared, but
    where a request brings it along.
    """

    where: Literal["request", "answer"]
    name: str
    here: str
    there: str
    why: str


SUBJECTS: Final = {
    "vars": (
        "`vars`",
        "texts, numbers, lists, objects; `env` of `cloudflare:workers`; `process.env`",
    ),
    "secret": ("secrets", "`secret_text` and `.dev.vars`"),
    "kv": (
        "KV",
        "keys, values, types, streams, metadata, expiration, `list`, bulk reads, mistakes",
    ),
    "d1": (
        "D1",
        "`prepare`, `bind`, `first`, `all`, `raw`, `run`, `batch`, `exec`, sessions, mistakes",
    ),
    "queue": ("queues, producers", "`send`, `sendBatch`, content types, delays, mistakes"),
    "consumer": ("queues, consumers", "batches, attempts, `ack`, `retry`"),
    "service": (
        "services",
        "`fetch`, sockets, RPC, targets, functions, streams, entrypoints, `props`",
    ),
    "assets": ("`env.ASSETS`", "pages, redirects, `_headers`, ranges, methods"),
    "site": ("sites from outside", "the same through the front door"),
    "version": ("`version_metadata`", "names, types, forms"),
    "ratelimit": ("`ratelimits`", "limits, keys, mistakes"),
    "analytics": ("`analytics_engine_datasets`", "points and mistakes"),
    "hyperdrive": ("`hyperdrive`", "the parts of a connection"),
    "modules": ("modules", "WebAssembly, texts, data, `import()`"),
    "scheduled": ("cron triggers", "what `scheduled()` is given"),
    "tail": ("`tail_consumers`", "events of a request that works and of one that throws"),
    "runtime": (
        "the runtime",
        "globals, caches, crypto, Node.js modules, `ctx`, what `fetch()` may reach",
    ),
    "requests": ("requests", "URLs, methods, fields, forged fields, cookies, forms"),
    "responses": ("responses", "status, reason, fields, streams, lengths, encodings, `waitUntil`"),
    "errors": ("errors", "exceptions, rejections, wrong answers, answers that break or never come"),
}
"""By name: what it is called, and what is tried."""

FIELDS: Final = (
    Field(
        where="answer",
        name="date",
        here="always there",
        there="never",
        why="RFC 9110 asks for it; Cloudflare sends it too",
    ),
    Field(
        where="answer",
        name="cf-ray",
        here="the id of the request, as in its log",
        there="none",
        why="Cloudflare sends it too",
    ),
    Field(
        where="answer",
        name="cf-cache-status",
        here="none",
        there="`HIT`, on files of sites",
        why="nothing is cached in front of functions and files here",
    ),
    Field(
        where="request",
        name="cf-ray",
        here="the id of the request",
        there="none",
        why="Cloudflare has it too",
    ),
    Field(
        where="request",
        name="cf-visitor",
        here='`{"scheme":"https"}`, as the client came',
        there="none",
        why="Cloudflare has it too",
    ),
    Field(
        where="request",
        name="x-forwarded-for",
        here="the client's address",
        there="none",
        why="Cloudflare has it too",
    ),
    Field(
        where="request",
        name="x-real-ip",
        here="the client's address",
        there="none",
        why="Cloudflare has it too",
    ),
    Field(
        where="request",
        name="x-forwarded-proto",
        here="`http` or `https`, as the client came",
        there="none",
        why="Cloudflare has it too",
    ),
    Field(
        where="request",
        name="x-forwarded-host",
        here="the host that the client asked for",
        there="none",
        why="for frameworks behind a proxy; it is what `Host` says",
    ),
    Field(
        where="request",
        name="accept-encoding",
        here="the client's own",
        there="`br, gzip`, whatever the client says",
        why="nothing here compresses what a function has not compressed, so the function may know",
    ),
)

MASKED: Final = {"kv": "cacheStatus", "d1": "served_by", "queue": "backlogCount"}
"""A key in what is tried of a subject whose values are compared by themselves: `every <key>`."""

_FORGED: Final = "what a client claims of itself is never believed"
_CHECKED: Final = "limits are Cloudflare's documented ones, and mistakes are better seen at once"
_DEV: Final = "`wrangler dev` puts code of its own around the function"

DIFFERENCES: Final = (
    Difference(
        subject="vars",
        what=("a database that the configuration does not name", "all names of another function"),
        title="`env.D1` of a function that uses it without having a binding of this name",
        here="a database of its own",
        there="nothing",
        why="every function that wants a database has one",
    ),
    Difference(
        subject="kv",
        what=("every cacheStatus",),
        title="`cacheStatus` of `getWithMetadata()`",
        here='`"MISS"`',
        there="`null`",
        why="workerd's own KV says so; at Cloudflare it may be anything",
    ),
    Difference(
        subject="kv",
        what=("cursor",),
        title="`list()` with a cursor that is none",
        here="an error",
        there="the first page",
        why="workerd's own KV says so; so does Cloudflare",
    ),
    Difference(
        subject="d1",
        what=("every served_by",),
        title="`meta.served_by`",
        here='`"workerd"`',
        there='`"miniflare.db"`',
        why="it names who serves",
    ),
    Difference(
        subject="queue",
        what=("every backlogCount",),
        title="`backlogCount` in what `send()` and `metrics()` give",
        here="how many messages are in the queue",
        there="0",
        why="the queue is a real one",
    ),
    Difference(
        subject="queue",
        what=("too long", "batch too many"),
        title="a message over 128 KB; more than 100 messages",
        here="`Payload Too Large`",
        there="taken",
        why="Cloudflare's limits",
    ),
    Difference(
        subject="service",
        what=("an exception in fetch",),
        title="an exception in the other function's `fetch()`",
        here="the caller's `fetch()` throws it",
        there="a response with status 500",
        why=f"as at Cloudflare; {_DEV}, which makes a page of it",
    ),
    Difference(
        subject="assets",
        what=("a range",),
        title="`Range`",
        here="206 and the range",
        there="200 and all of it",
        why="ranges are served here; seeking in media needs them",
    ),
    Difference(
        subject="site",
        what=("a range", "a range that is none"),
        title="`Range`",
        here="206 and the range, or 416",
        there="200 and all of it",
        why="ranges are served here; seeking in media needs them",
    ),
    Difference(
        subject="site",
        what=("a page", "a directory", "HEAD of a file"),
        title="`Content-Length` of pages, and of answers to `HEAD`",
        here="told",
        there="not told",
        why="`wrangler dev` may put a script for live reload into pages",
    ),
    Difference(
        subject="responses",
        what=("HTML",),
        title="`Content-Length` of HTML",
        here="told",
        there="not told",
        why="`wrangler dev` may put a script for live reload into pages",
    ),
    Difference(
        subject="analytics",
        what=(
            "null", "21 blobs", "21 doubles", "two indexes", "a long index", "17 KB of blobs",
            "a double that is none",
        ),
        title="a point beyond the limits, or that is none",
        here="a `TypeError`",
        there="taken, as is everything",
        why=_CHECKED,
    ),
    Difference(
        subject="hyperdrive",
        what=("host",),
        title="`host`",
        here="the database's own",
        there="a name that only `wrangler dev` knows",
        why="functions connect to the database itself; there is no pool between",
    ),
    Difference(
        subject="runtime",
        what=("ctx.exports",),
        here="also `__workerd_faas`",
        there="also `__INTERNAL_WRANGLER_MIDDLEWARE__`",
        why="each has one entrypoint of its own in the function",
    ),
    Difference(
        subject="runtime",
        what=("other globals",),
        title="names of globals",
        here="also `__workerd_faas_gc`, which is `undefined`",
        there="not",
        why="the name cannot be taken away",
    ),
    Difference(
        subject="runtime",
        what=("caches.*",),
        title="`caches`",
        here="take everything and keep nothing",
        there="keep it",
        why="a cache may forget at any time, and there is none here yet; use KV to keep something",
    ),
    Difference(
        subject="runtime",
        what=("request.cf.*",),
        title="`request.cf`",
        here="an object without `country`, `colo`, `tlsVersion` and the like",
        there="an example with all of them",
        why="they say what Cloudflare's network knows of a client",
    ),
    Difference(
        subject="tail",
        what=("*: names",),
        title="fields of an event",
        here="without those that say nothing here (`dispatchNamespace`, `preview`, …)",
        there="all of them, most of them `null`",
        why="what is there means something",
    ),
    Difference(
        subject="tail",
        what=("*: scriptName",),
        title="`scriptName`",
        here="the function's name",
        there="`null`",
        why="`wrangler dev` does not say it; Cloudflare does",
    ),
    Difference(
        subject="tail",
        what=("*: scriptVersion",),
        title="`scriptVersion`",
        here="the id of the version",
        there="`null`",
        why="`wrangler dev` has no versions; Cloudflare says it",
    ),
    Difference(
        subject="tail",
        what=("*: logs",),
        title="what was logged",
        here="as it was logged",
        there="`[compat]`, the function's name, before it",
        why="`wrangler dev` puts names before lines of several functions",
    ),
    Difference(
        subject="tail",
        what=("fails: outcome", "fails: exceptions", "fails: response"),
        title="an exception",
        here="outcome `exception`, with it in `exceptions`, and no response",
        there="outcome `ok`, without it, and a response with status 500",
        why=f"as at Cloudflare; {_DEV}, which catches it",
    ),
    Difference(
        subject="requests",
        what=("Accept-Encoding",),
        title="compression",
        here="an answer is compressed if the function says `Content-Encoding`",
        there="compressed for whoever accepts it",
        why="a reverse proxy in front can do it; otherwise it costs others' CPU time",
    ),
    Difference(
        subject="requests",
        what=("DELETE", "OPTIONS", "a method of one's own"),
        title="`Content-Length` of requests without a body",
        here="as the client sent it",
        there="`0` where the client sent none",
        why="nothing is added to what a client says of its body",
    ),
    Difference(
        subject="requests",
        what=("quotes and angles in a query",),
        title="`\"`, `<`, `>` and bytes outside ASCII in a URL",
        here="percent-encoded, as URL parsers do it",
        there="400 `invalid URI` for most of them",
        why="no URI has them, but clients send what was typed",
    ),
    Difference(
        subject="requests",
        what=("hop-by-hop fields",),
        title="fields that `Connection` names",
        here="removed",
        there="passed on",
        why="RFC 9110, 7.6.1",
    ),
    Difference(
        subject="requests",
        what=("forged *",),
        title="`CF-Connecting-IP`, `CF-Ray`, `X-Forwarded-*`, `X-Real-IP` of the client",
        here="replaced by what is so",
        there="passed on",
        why=_FORGED,
    ),
    Difference(
        subject="requests",
        what=("names of fields",),
        title="names of fields that the client did not send",
        here="those of the table below",
        there="`CF-Connecting-IP`",
        why="Cloudflare sends them",
    ),
    Difference(
        subject="errors",
        what=("*: what is seen",),
        title="what the client sees of an error",
        here="code 1101 and the id of the request, as JSON, or as a page for browsers",
        there="the exception and its stack",
        why="what a function says when it fails may be secret; its log has all of it",
    ),
    Difference(
        subject="errors",
        what=("a stream that breaks: status",),
        title="a body that breaks before its first byte is on its way",
        here="502",
        there="500",
        why="the answer had begun, and its end is not known: as of any upstream",
    ),
)  # fmt: skip
