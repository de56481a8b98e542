"""Sites for tests: files and how to upload them as Wrangler does."""

import hashlib
import json
import mimetypes
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.e2e.daemon import Answer, Daemon, multipart

WORKER: Final = """
export default {
  async fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    if (pathname.startsWith("/through")) {
      return env.ASSETS.fetch(new URL(pathname.slice(8) + search, request.url), request);
    }
    return new Response(`worker ${request.method} ${pathname}${search}`);
  },
};
"""
"""Answers with what it was asked, and below /through with what the site answers."""


@attrs.frozen(kw_only=True)
class Site:
    """
    A site and what serves it. `config` is as in Wrangler's configuration.
    """

    name: str
    files: Mapping[str, str]
    config: Mapping[str, Any] = attrs.Factory(dict)
    headers: str | None = None
    redirects: str | None = None
    worker: str | None = None


def hash_of(path: str, content: bytes) -> str:
    """
    A name for content and type.
    """
    extension = path.rpartition(".")[2] if "." in path else ""
    return hashlib.sha256(content + b"." + extension.encode()).hexdigest()[:32]


def type_of(path: str) -> str:
    """
    The type that Wrangler would send.
    """
    kind = mimetypes.guess_type(path)[0]
    if kind is None:
        return "application/null"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def begin(
    daemon: Daemon, name: str, files: Mapping[str, str], *, token: str = "", **more: Any
) -> Answer:
    """
    The request that begins a session.
    """
    manifest = {
        path: {"hash": hash_of(path, text.encode()), "size": len(text.encode())}
        for path, text in files.items()
    }
    if token:
        more["token"] = token
    return daemon.api(
        "POST", f"/workers/scripts/{name}/assets-upload-session", {"manifest": manifest}, **more
    )


def send(daemon: Daemon, session: str, path: str, text: str, **more: Any) -> Answer:
    """
    The request that brings one file as it is.
    """
    content = text.encode()
    return daemon.api(
        "POST",
        f"/workers/assets/upload/{hash_of(path, content)}",
        body=content,
        headers={"Content-Type": type_of(path)},
        token=session,
        **more,
    )


def upload_files(daemon: Daemon, name: str, files: Mapping[str, str]) -> str:
    """
    A whole session; returns the completion token.
    """
    result = begin(daemon, name, files).result
    token: str = result["jwt"]
    missing = {digest for bucket in result["buckets"] for digest in bucket}
    session = token
    for path, text in files.items():
        if hash_of(path, text.encode()) in missing:
            token = send(daemon, session, path, text).result["jwt"] or token
    return token


def metadata_of(site: Site, token: str | None) -> dict[str, Any]:
    """
    The metadata of an upload with this site.
    """
    config = dict(site.config)
    if site.headers is not None:
        config["_headers"] = site.headers
    if site.redirects is not None:
        config["_redirects"] = site.redirects
    found: dict[str, Any] = {"compatibility_date": "2026-11-01", "assets": {"config": config}}
    if token is not None:
        found["assets"]["jwt"] = token
    if site.worker is not None:
        found |= {"main_module": "index.js", "bindings": [{"name": "ASSETS", "type": "assets"}]}
    return found


def deploy(daemon: Daemon, site: Site, **metadata: Any) -> Answer:
    """
    Upload the files and deploy.
    """
    document = metadata_of(site, upload_files(daemon, site.name, site.files)) | metadata
    return put(daemon, site, document)


def put(daemon: Daemon, site: Site, document: Mapping[str, Any], *, deploy: bool = True) -> Answer:
    """
    The upload itself.
    """
    parts: list[tuple[str, str | None, bytes]] = [("metadata", None, json.dumps(document).encode())]
    if site.worker is not None:
        parts.append(("index.js", "application/javascript+module", site.worker.encode()))
    content_type, body = multipart(*parts)
    method, path = ("PUT", "") if deploy else ("POST", "/versions")
    return daemon.api(
        method,
        f"/workers/scripts/{site.name}{path}",
        body=body,
        headers={"Content-Type": content_type},
    )
