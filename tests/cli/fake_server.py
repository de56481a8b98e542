"""
A server with the shapes of the management API, in memory, on a thread: what `wrkst` talks to.

It is strict: an upload that is not exactly what the API takes is refused, a refresh token that is
used twice ends its session, a code is good once and only with its verifier.
"""

import base64
import hashlib
import json
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import attrs
from python_multipart.multipart import MultipartParser, parse_options_header

ACCOUNT = "0123456789abcdef0123456789abcdef"
OTHER_ACCOUNT = "fedcba9876543210fedcba9876543210"
CONTENT_TYPES = {
    "application/javascript+module",
    "application/javascript",
    "application/wasm",
    "text/plain",
    "application/octet-stream",
    "application/source-map",
}


@attrs.frozen
class Uploaded:
    """
    One part of a form as it arrived.
    """

    name: str
    filename: str | None
    content_type: str | None
    content: bytes


@attrs.define
class Script:
    """
    A function with its versions (newest first), deployments and aliases.
    """

    versions: list[dict[str, Any]] = attrs.Factory(list)
    deployments: list[dict[str, Any]] = attrs.Factory(list)
    aliases: dict[str, dict[str, Any]] = attrs.Factory(dict)
    schedules: list[dict[str, Any]] = attrs.Factory(list)
    reach: dict[str, bool] = attrs.Factory(dict)


@attrs.frozen
class Request:
    """
    What came in.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Refused(Exception):
    """
    An answer that is no success.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@attrs.define
class State:
    """
    Everything the server knows, for tests to look at and to change.
    """

    base_url: str = ""
    lock: threading.RLock = attrs.Factory(threading.RLock)
    scripts: dict[str, Script] = attrs.Factory(dict)
    uploads: list[list[Uploaded]] = attrs.Factory(list)
    requests: list[Request] = attrs.Factory(list)
    api_tokens: dict[str, dict[str, Any]] = attrs.Factory(dict)
    access_tokens: set[str] = attrs.Factory(set)
    refresh_tokens: dict[str, bool] = attrs.Factory(dict)
    codes: dict[str, dict[str, str]] = attrs.Factory(dict)
    accounts: list[tuple[str, str]] = attrs.Factory(lambda: [(ACCOUNT, "ada")])
    refusal: dict[str, str] = attrs.Factory(dict)
    sessions: list[dict[str, Any]] = attrs.Factory(list)
    queues: dict[str, list[dict[str, Any]]] = attrs.Factory(dict)
    faults: list[tuple[str, int, dict[str, str]]] = attrs.Factory(list)
    check: Callable[[list[Uploaded]], None] = lambda parts: None
    lifetime: int = 3600
    refreshes: int = 0
    metadata: dict[str, Any] = attrs.Factory(dict)
    clock: int = 0
    messages: list[str] = attrs.Factory(list)

    def now(self) -> str:
        """
        Time stamps that differ from one another.
        """
        self.clock += 1
        moment = datetime(2026, 11, 23, tzinfo=UTC).timestamp() + self.clock
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def issue_api_token(self, name: str = "ci") -> str:
        """
        A token that the server accepts.
        """
        value = "wft_" + secrets.token_hex(20)
        self.api_tokens[value] = {
            "id": secrets.token_hex(8),
            "name": name,
            "created_on": self.now(),
            "last_used_on": None,
            "expires_on": None,
            "account": ACCOUNT,
        }
        return value

    def issue_session(self) -> dict[str, Any]:
        """
        What the token endpoint gives.
        """
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.access_tokens.add(access)
        self.refresh_tokens[refresh] = True
        return {
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": self.lifetime,
            "token_type": "Bearer",
        }


def parse_strictly(content_type: str, body: bytes) -> list[Uploaded]:
    """
    The parts of a form, by another implementation than ours.
    """
    kind, options = parse_options_header(content_type)
    assert kind == b"multipart/form-data", content_type
    parts: list[Uploaded] = []
    headers: dict[str, str] = {}
    content = bytearray()
    field = bytearray()
    value = bytearray()
    ended = False

    def begin() -> None:
        headers.clear()
        content.clear()

    def header_end() -> None:
        headers[field.decode().lower()] = value.decode()
        field.clear()
        value.clear()

    def part_end() -> None:
        match = re.fullmatch(
            r'form-data; name="([^"]*)"(?:; filename="([^"]*)")?', headers["content-disposition"]
        )
        assert match, headers
        assert set(headers) <= {"content-disposition", "content-type"}, headers
        parts.append(Uploaded(match[1], match[2], headers.get("content-type"), bytes(content)))

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        options[b"boundary"],
        {
            "on_part_begin": begin,
            "on_part_data": lambda data, start, stop: content.extend(data[start:stop]),
            "on_part_end": part_end,
            "on_header_field": lambda data, start, stop: field.extend(data[start:stop]),
            "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
            "on_header_end": header_end,
            "on_end": end,
        },
    )
    assert parser.write(body) == len(body)
    parser.finalize()
    assert ended, "the form has no end"
    return parts


def check_upload(parts: list[Uploaded]) -> dict[str, Any]:
    """
    Refuse what is not an upload as Wrangler makes it; returns the metadata.
    """
    first, *modules = parts
    if first.name != "metadata" or first.filename is not None or first.content_type is not None:
        raise Refused(400, 10021, f"the first part is no metadata: {first}")
    metadata: dict[str, Any] = json.loads(first.content)
    if not modules or modules[0].name != metadata.get("main_module"):
        raise Refused(400, 10021, "the main module does not come first")
    names = [module.name for module in modules]
    if len(set(names)) != len(names):
        raise Refused(400, 10021, "a name twice")
    for module in modules:
        if module.filename != module.name or module.content_type not in CONTENT_TYPES:
            raise Refused(400, 10021, f"a part is no module: {module.name}")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", metadata.get("compatibility_date", "")):
        raise Refused(400, 10021, "no compatibility date")
    for binding in metadata["bindings"]:
        if binding["type"] not in ("plain_text", "json"):
            raise Refused(
                400,
                10021,
                f"the binding {binding['name']!r} of type {binding['type']!r} is not supported",
            )
    return metadata


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *args: Any) -> None:
        """
        Silence.
        """

    def handle_one_request(self) -> None:
        """
        Answer one request, whatever its method.
        """
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = self.headers.get("Content-Length")
        assert self.command in ("GET", "DELETE") or length is not None, "a body without a length"
        body = self.rfile.read(int(length or 0))
        request = Request(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in self.headers.items()},
            body,
        )
        state = self.server.state
        with state.lock:
            state.requests.append(request)
            status, headers, document = answer(state, request)
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: State


@contextmanager
def fake_server() -> Iterator[State]:
    """
    Serve while the block runs, on a free port of the loopback address.
    """
    with _Server(("127.0.0.1", 0), _Handler) as server:
        state = server.state = State()
        state.base_url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


Reply = tuple[int, dict[str, str], Any]


def answer(state: State, request: Request) -> Reply:
    """
    What a request gets.
    """
    for index, (pattern, status, headers) in enumerate(state.faults):
        if re.search(pattern, f"{request.method} {request.path}"):
            del state.faults[index]
            error = {"code": 7500, "message": "made to fail"}
            document = {"success": False, "result": None, "errors": [error], "messages": []}
            return status, headers, document
    if request.path == "/health":
        return 200, {}, {"status": "healthy", "version": "0.1.0"}
    if request.path == "/.well-known/oauth-authorization-server":
        return 200, {}, discovery(state)
    if request.path.startswith("/oauth2/"):
        return oauth(state, request)
    try:
        result = api(state, request)
    except Refused as refused:
        error = {"code": refused.code, "message": refused.message}
        document = {"success": False, "result": None, "errors": [error], "messages": []}
        return refused.status, {"CF-Ray": "0011223344556677"}, document
    if isinstance(result, Page):
        return (
            200,
            {},
            {
                "success": True,
                "result": result.items,
                "errors": [],
                "messages": [],
                "result_info": result.info,
            },
        )
    return (
        200,
        {},
        {"success": True, "result": result, "errors": [], "messages": state.messages},
    )


def discovery(state: State) -> dict[str, Any]:
    """
    Metadata of RFC 8414.
    """
    return {
        "issuer": state.base_url,
        "authorization_endpoint": state.base_url + "/oauth2/auth",
        "token_endpoint": state.base_url + "/oauth2/token",
        "revocation_endpoint": state.base_url + "/oauth2/revoke",
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        **state.metadata,
    }


def oauth(state: State, request: Request) -> Reply:
    """
    The authorization server.
    """
    if request.path == "/oauth2/auth":
        query = request.query
        assert query["client_id"] == "wrkst" and query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256" and len(query["code_challenge"]) == 43
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/callback", query["redirect_uri"])
        assert len(query["state"]) >= 32
        if state.refusal:
            refusal = {**state.refusal, "state": query["state"], "iss": state.base_url}
            return 302, {"Location": f"{query['redirect_uri']}?{urlencode(refusal)}"}, b""
        code = secrets.token_urlsafe(16)
        state.codes[code] = query
        back = urlencode({"code": code, "state": query["state"], "iss": state.base_url})
        return 302, {"Location": f"{query['redirect_uri']}?{back}"}, b""
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert form["client_id"] == "wrkst"
    if request.path == "/oauth2/revoke":
        state.refresh_tokens.pop(form["token"], None)
        return 200, {}, {}
    if form["grant_type"] == "refresh_token":
        if not state.refresh_tokens.get(form["refresh_token"]):
            state.refresh_tokens.clear()
            state.access_tokens.clear()
            return 400, {}, {"error": "invalid_grant"}
        state.refresh_tokens[form["refresh_token"]] = False
        state.refreshes += 1
        return 200, {}, state.issue_session()
    asked = state.codes.pop(form["code"], None)
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if asked is None or (asked["code_challenge"], asked["redirect_uri"]) != (
        challenge,
        form["redirect_uri"],
    ):
        return 400, {}, {"error": "invalid_grant", "error_description": "no such code"}
    return 200, {}, state.issue_session()


@attrs.frozen
class Page:
    """
    A list with its place among others.
    """

    items: list[Any]
    info: dict[str, int]


def api(state: State, request: Request) -> Any:
    """
    The management API; returns the result.
    """
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    if bearer not in state.access_tokens and bearer not in state.api_tokens:
        raise Refused(401, 10000, "Authentication error")
    assert request.path.startswith("/client/v4/"), request.path
    path = request.path.removeprefix("/client/v4/").split("/")
    match (request.method, path):
        case ("GET", ["memberships"]):
            number = int(request.query.get("page", "1"))
            size = 2
            items = [
                {"account": {"id": id_, "name": name}, "roles": ["Administrator"]}
                for id_, name in state.accounts
            ]
            return Page(
                items[(number - 1) * size : number * size],
                {"page": number, "per_page": size, "total_count": len(items)},
            )
        case ("GET", ["user"]):
            return {"id": "u1", "email": "ada@example.test"}
        case (_, ["user", "tokens", *rest]):
            return tokens(state, request, rest)
        case ("GET", ["user", "sessions"]):
            return state.sessions
        case ("DELETE", ["user", "sessions", session]):
            state.sessions = [each for each in state.sessions if each["id"] != session]
            return None
        case (_, ["accounts", _, "queues", *rest]):
            return queues(state, request, rest)
        case (_, ["accounts", account, "workers", "scripts", *rest]):
            if account not in [id_ for id_, _ in state.accounts]:
                raise Refused(403, 10000, "not yours")
            return scripts(state, request, rest)
    raise Refused(404, 7000, "No route")


def queues(state: State, request: Request, rest: list[str]) -> Any:
    """
    Queues and their consumers; a queue's id is its name with a prefix.
    """
    if not rest:
        found = [
            {"queue_id": f"id-{name}", "queue_name": name, "consumers": consumers}
            for name, consumers in state.queues.items()
        ]
        number = int(request.query.get("page", "1"))
        items = found[number - 1 : number]
        return Page(items, {"page": number, "per_page": 1, "total_count": len(found)})
    consumers = state.queues[rest[0].removeprefix("id-")]
    document = json.loads(request.body)
    consumer = {
        "consumer_id": "c1",
        "script": document["script_name"],
        "settings": document["settings"],
        "dead_letter_queue": document.get("dead_letter_queue"),
    }
    if (request.method, rest[1:]) == ("PUT", ["consumers", "c1"]):
        consumers[:] = [consumer]
    elif (request.method, rest[1:]) == ("POST", ["consumers"]) and not consumers:
        consumers.append(consumer)
    else:
        raise Refused(400, 11004, "the queue has a consumer already")
    return consumer


def tokens(state: State, request: Request, rest: list[str]) -> Any:
    """
    API tokens.
    """
    if request.method == "GET":
        return list(state.api_tokens.values())
    if request.method == "POST":
        document = json.loads(request.body)
        value = state.issue_api_token(document["name"])
        state.api_tokens[value]["expires_on"] = document.get("expires_on")
        return {**state.api_tokens[value], "value": value}
    found = [value for value, each in state.api_tokens.items() if each["id"] == rest[0]]
    if not found:
        raise Refused(404, 1003, "no such token")
    del state.api_tokens[found[0]]
    return {"id": rest[0]}


def urls(state: State, name: str, version: str | None = None) -> dict[str, Any]:
    """
    Where things answer.
    """
    authority = state.base_url.removeprefix("http://")
    script = state.scripts[name]
    found: dict[str, Any] = {
        "function": f"http://{name}.{authority}",
        "aliases": {
            alias: f"http://{alias}.{name}.{authority}"
            for alias, each in script.aliases.items()
            if version in (None, each["version_id"])
        },
    }
    if version is not None:
        found["version"] = f"http://{version[:8]}.{name}.{authority}"
    return found


def scripts(state: State, request: Request, rest: list[str]) -> Any:
    """
    Functions, versions, deployments, aliases.
    """
    match (request.method, rest):
        case ("GET", []):
            return [
                {"id": name, "modified_on": script.versions[0]["metadata"]["created_on"]}
                for name, script in sorted(state.scripts.items())
            ]
        case ("PUT", [name]):
            version = add_version(state, name, request)
            deploy(state, name, [{"version_id": version, "percentage": 100}], {})
            return {
                "deployment_id": version,
                "id": name,
                "startup_time_ms": 3,
                "urls": urls(state, name, version),
            }
        case ("POST", [name, "versions"]):
            version = add_version(state, name, request)
            return {**state.scripts[name].versions[0], "urls": urls(state, name, version)}
    script = state.scripts.get(rest[0])
    if script is None:
        raise Refused(404, 10007, "This Worker does not exist on your account.")
    if (request.method, rest[1:]) == ("POST", ["subdomain"]):
        script.reach = json.loads(request.body)
        return script.reach
    return script_resource(state, script, request, rest)


def script_resource(state: State, script: Script, request: Request, rest: list[str]) -> Any:
    """
    What belongs to one function.
    """
    match (request.method, rest):
        case ("GET", [_, "versions"]):
            return {"items": script.versions}
        case ("GET", [_, "versions", version]):
            return next(each for each in script.versions if each["id"] == version)
        case ("GET", [name, "deployments"]):
            return {"deployments": script.deployments, "urls": urls(state, name)}
        case ("POST", [name, "deployments"]):
            document = json.loads(request.body)
            assert document["strategy"] == "percentage"
            assert sum(each["percentage"] for each in document["versions"]) == 100
            made = deploy(state, name, document["versions"], document["annotations"])
            return {**made, "urls": urls(state, name)}
        case ("GET", [_, "schedules"]):
            return {"schedules": script.schedules}
        case ("PUT", [_, "schedules"]):
            script.schedules = [
                {
                    "cron": each["cron"],
                    "created_on": state.now(),
                    "modified_on": state.now(),
                    "next_run_on": "2027-01-01T00:00:00.000000Z",
                    "last_run": None,
                }
                for each in json.loads(request.body)
            ]
            return {"schedules": script.schedules}
        case ("GET", [_, "aliases"]):
            return list(script.aliases.values())
        case ("PUT", [name, "aliases", alias]):
            version = json.loads(request.body)["version_id"]
            if version not in [each["id"] for each in script.versions]:
                raise Refused(404, 10222, "no such version")
            set_alias(state, name, alias, version)
            return script.aliases[alias]
        case ("DELETE", [_, "aliases", alias]):
            if script.aliases.pop(alias, None) is None:
                raise Refused(404, 10223, "no such alias")
            return None
        case ("DELETE", [name]):
            del state.scripts[name]
            return None
    raise Refused(404, 7000, "No route")


def set_alias(state: State, name: str, alias: str, version: str) -> None:
    """
    Let an alias name a version.
    """
    authority = state.base_url.removeprefix("http://")
    state.scripts[name].aliases[alias] = {
        "name": alias,
        "version_id": version,
        "url": f"http://{alias}.{name}.{authority}",
        "created_on": state.now(),
        "modified_on": state.now(),
    }


def add_version(state: State, name: str, request: Request) -> str:
    """
    Take an upload.
    """
    parts = parse_strictly(request.headers["content-type"], request.body)
    metadata = check_upload(parts)
    state.check(parts)
    state.uploads.append(parts)
    version = str(uuid.uuid4())
    script = state.scripts.setdefault(name, Script())
    script.versions.insert(
        0,
        {
            "id": version,
            "number": len(script.versions) + 1,
            "startup_time_ms": 3,
            "metadata": {
                "created_on": state.now(),
                "author_email": "ada@example.test",
                "source": "wrangler",
            },
            "annotations": metadata["annotations"],
            "resources": {
                "bindings": metadata["bindings"],
                "script": {"handlers": ["fetch"]},
                "script_runtime": {
                    "compatibility_date": metadata["compatibility_date"],
                    "compatibility_flags": metadata["compatibility_flags"],
                },
            },
        },
    )
    alias = metadata["annotations"].get("workers/alias")
    if alias:
        set_alias(state, name, alias, version)
    return version


def deploy(
    state: State, name: str, versions: list[dict[str, Any]], annotations: dict[str, str]
) -> dict[str, Any]:
    """
    Put versions in service.
    """
    made = {
        "id": str(uuid.uuid4()),
        "created_on": state.now(),
        "source": "wrangler",
        "author_email": "ada@example.test",
        "strategy": "percentage",
        "versions": versions,
        "annotations": annotations,
    }
    state.scripts[name].deployments.insert(0, made)
    return made
