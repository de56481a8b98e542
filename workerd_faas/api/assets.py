"""Uploads of static assets: a session that says what is missing, and the files themselves."""

import base64
import binascii
import re
from typing import Any, Final

import attrs
from klein import Klein
from twisted.web.iweb import IRequest

from workerd_faas.api.envelope import answer, header, query, read_json
from workerd_faas.api.multipart import Part, parse_multipart
from workerd_faas.api.request import Knows
from workerd_faas.api.scripts import SCRIPT, target_of
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import AssetLimits
from workerd_faas.usecases.ports import Authenticator, InThread, ReceivedFile
from workerd_faas.usecases.sites.sessions import AssetSessions
from workerd_faas.wire.site.manifest import HASH, Manifest, parse_manifest

UPLOAD: Final = "/accounts/<account>/workers/assets/upload"

NO_TYPE: Final = "application/null"
"""What Wrangler sends for a file whose type it does not know."""

MAX_TYPE: Final = 120
MAX_VALUES: Final = 200_000
"""Of a manifest: more than the files that it may have take."""
_TYPE: Final = re.compile(r"[\x20-\x7e]+")


@attrs.frozen(kw_only=True)
class AssetRoutes:
    """
    The two steps before an upload with a site.
    """

    auth: Authenticator
    sessions: AssetSessions
    limits: AssetLimits
    in_thread: InThread

    def register(self, app: Klein) -> None:
        """
        See `api.app.Routes.register`.
        """

        @app.route(SCRIPT + "/assets-upload-session", methods=["POST"])
        async def begin(request: IRequest, account: str, name: str) -> bytes:
            target = await target_of(self.auth, request, account, name)

            def read() -> Manifest:
                document = read_json(request, max_bytes=self.limits.manifest, max_values=MAX_VALUES)
                return parse_manifest(document, self.limits)

            session = await self.sessions.begin(target, lambda: self.in_thread(read))
            result = {"jwt": session.token, "buckets": [list(each) for each in session.buckets]}
            return answer(request, result, status=201)

        @app.route(UPLOAD, methods=["POST"])
        async def upload_form(request: IRequest, account: str) -> bytes:
            return await self._receive(request, account, lambda: self._form(request))

        @app.route(UPLOAD + "/<digest>", methods=["POST"])
        async def upload_file(request: IRequest, account: str, digest: str) -> bytes:
            return await self._receive(request, account, lambda: [_file(request, digest)])

    async def _receive(self, request: IRequest, account: str, read: Any) -> bytes:
        token = await self.sessions.receive(account, _bearer(request), lambda: self.in_thread(read))
        return answer(request, {"jwt": token}, status=202 if token is None else 201)

    def _form(self, request: IRequest) -> list[ReceivedFile]:
        if query(request, "base64") != "true":
            raise Problem(
                kind=Kind.BAD_REQUEST,
                message="Send the files in base64 to …/assets/upload?base64=true, or each as it is "
                "to …/assets/upload/<hash>.",
            )
        request.content.seek(0)
        parts = parse_multipart(
            header(request, "content-type"),
            request.content.read(),
            max_parts=self.limits.bucket_files,
        )
        return [_decoded(part) for part in parts]


def session_holders(sessions: AssetSessions) -> Knows:
    """
    Those who have the token of a session are known.
    """

    async def knows(request: IRequest) -> bool:
        return sessions.knows(_bearer(request))

    return knows


def _bearer(request: IRequest) -> str | None:
    scheme, _, token = (header(request, "authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _file(request: IRequest, digest: str) -> ReceivedFile:
    request.content.seek(0)
    content_type = _content_type(digest, header(request, "content-type"))
    return ReceivedFile(
        hash=_hash(digest), content_type=content_type, content=request.content.read()
    )


def _decoded(part: Part) -> ReceivedFile:
    try:
        content = base64.b64decode(part.content, validate=True)
    except binascii.Error:
        raise _invalid(f"The part {part.name[:40]!r} is not base64.") from None
    content_type = _content_type(part.name, part.sent_type)
    return ReceivedFile(hash=_hash(part.name), content_type=content_type, content=content)


def _hash(text: str) -> str:
    if not HASH.fullmatch(text):
        raise _invalid(f"The file {text[:40]!r} must be named by its hash, 32 hex digits.")
    return text


def _content_type(name: str, value: str | None) -> str | None:
    if value is None or value.partition(";")[0].strip().lower() == NO_TYPE:
        return None
    if len(value) > MAX_TYPE or not _TYPE.fullmatch(value):
        raise _invalid(f"The content type of the file {name[:40]!r} cannot be served.")
    return value


def _invalid(message: str) -> Problem:
    return Problem(kind=Kind.ASSETS_INVALID, message=message)
