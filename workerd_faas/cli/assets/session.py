"""Uploading the files of a site that the server does not have yet."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from workerd_faas.cli.assets.site import Site, SiteFile
from workerd_faas.cli.client.api import Api
from workerd_faas.cli.client.http import Content
from workerd_faas.cli.client.multipart import Form, Part
from workerd_faas.cli.failure import Failure, project_failure


@attrs.frozen
class _SessionToken:
    """
    What uploads of a session are authorised with: `client.credentials.Authorization`.
    """

    value: str = attrs.field(repr=False)

    def token(self) -> str:
        """
        The session's token.
        """
        return self.value

    def rejected(self, token: str) -> bool:
        """
        There is no other.
        """
        raise Failure(
            "The upload of the assets took too long: its session has expired.",
            hint="deploy again; what was uploaded is not uploaded a second time",
        )


@attrs.frozen(kw_only=True)
class Uploaded:
    """
    Attributes:
        token: For the metadata of the upload.
        files: How many files were sent; the server had the others.
    """

    token: str = attrs.field(repr=False)
    files: int


def upload_site(
    api: Api, path: Sequence[str], account_id: str, site: Site, progress: Callable[[int, int], None]
) -> Uploaded:
    """
    Send what is missing.

    Args:
        path: Of the function in the API.
        progress: Told how many of how many files have been sent.

    Raises:
        Failure: the server refuses, or a file changed meanwhile.
    """
    begun = _record(
        api.call(
            "POST",
            *path,
            "assets-upload-session",
            document={"manifest": site.manifest},
            repeatable=True,
        )
    )
    token, buckets = begun.get("jwt"), begun.get("buckets")
    if not isinstance(token, str) or not isinstance(buckets, list):
        raise _strange()
    by_hash = {file.hash: file for file in site.files.values()}
    total, sent = sum(map(len, buckets)), 0
    session = attrs.evolve(api, authorization=_SessionToken(token))
    for bucket in buckets:
        files = [by_hash[digest] for digest in bucket if digest in by_hash]
        if len(files) != len(bucket):
            raise _strange()
        token = _sent(session, account_id, files) or token
        sent += len(files)
        progress(sent, total)
    return Uploaded(token=token, files=total)


def _sent(session: Api, account_id: str, files: Sequence[SiteFile]) -> str | None:
    path = ("accounts", account_id, "workers", "assets", "upload")
    if len(files) == 1:
        (file,) = files
        answer = session.call(
            "POST",
            *path,
            file.hash,
            body=Content(file.content_type, _content(file)),
            repeatable=True,
        )
    else:
        parts = [
            Part(
                name=file.hash,
                filename=file.hash,
                content_type=file.content_type,
                content=base64.b64encode(_content(file)),
            )
            for file in files
        ]
        answer = session.call(
            "POST", *path, query={"base64": "true"}, body=Form(parts), repeatable=True
        )
    token = _record(answer).get("jwt")
    return token if isinstance(token, str) else None


def _content(file: SiteFile) -> bytes:
    try:
        content = file.source.read_bytes()
    except OSError as error:
        raise project_failure(f"{file.source} cannot be read: {error.strerror}.") from None
    if len(content) != file.size:
        raise project_failure(f"{file.source} was changed while it was uploaded.")
    return content


def _record(result: Any) -> Mapping[str, Any]:
    if not isinstance(result, dict):
        raise _strange()
    return result


def _strange() -> Failure:
    return Failure("The server's answer has not the expected shape; is `wrkst` too old for it?")
