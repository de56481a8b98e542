"""
The management API: envelope, errors, retries. Shapes: Wrangler's, with ours beside them.

Retried are requests that may be repeated: reading, and uploads (as Wrangler does): up to three
attempts on a lost connection, 429 or 5xx, after 0 s and 1 s or what `Retry-After` asks for.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

from workerd_faas.cli.client.credentials import Authorization
from workerd_faas.cli.client.http import Answer, Body, Content, Http, Progress, Unreachable
from workerd_faas.cli.client.oauth import login_needed
from workerd_faas.cli.failure import Failure, usage

_PREFIX: Final = "/client/v4"
_WAITS: Final = (0.0, 1.0)
_LONGEST_RETRY_AFTER: Final = 60
_MOST_PAGES: Final = 100
_TRANSIENT: Final = frozenset({429, 500, 502, 503, 504})

AUTHENTICATION_CODES: Final = frozenset({10000, 9106})
SCRIPT_NOT_FOUND: Final = 10007
HOST_INVALID: Final = 10017
HOST_UNKNOWN: Final = 10018
SCRIPT_INVALID: Final = 10021
SECRETS_CHANGED: Final = 10220


class ApiError(Failure):
    """
    The server said no.

    Attributes:
        status: HTTP status.
        code: The code of the first error, on which decisions may rest.
    """

    def __init__(self, status: int, errors: tuple[tuple[int | None, str], ...], ray: str) -> None:
        lines = [
            text + (f" [code: {code}]" if code is not None else "") for code, text in errors
        ] or [f"The server failed without saying why (status {status})."]
        if status >= 500 and ray:
            lines.append(f"request id {ray}")
        super().__init__(lines[0], details=lines[1:], hint=_hint(status, errors))
        self.status = status
        self.errors = errors
        self.code = errors[0][0] if errors else None


def _hint(status: int, errors: tuple[tuple[int | None, str], ...]) -> str | None:
    code = errors[0][0] if errors else None
    if code == SCRIPT_NOT_FOUND:
        return "`wrkst list` shows your functions"
    if code in (HOST_INVALID, HOST_UNKNOWN):
        return "give the server's host name, not its number: `wrkst config set-url URL`"
    if status == 413:
        return "make the upload smaller: `wrkst deploy --minify`, or drop large modules"
    if status in _TRANSIENT:
        return "try again in a moment"
    return None


@attrs.define(kw_only=True)
class Api:
    """
    Calls the API of one server.

    Attributes:
        sleep: Waits between attempts.
        notice: Told what the server says besides the result.
    """

    http: Http
    base_url: str
    authorization: Authorization
    sleep: Callable[[float], None] = time.sleep
    notice: Callable[[str], None] = lambda text: None

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        """
        Read something. See `call`.
        """
        return self.call("GET", *path, query=query, repeatable=True)

    def pages(self, *path: str) -> list[Any]:
        """
        Read a whole list that comes in numbered pages.

        Raises: as `call`.
        """
        found: list[Any] = []
        for page in range(1, _MOST_PAGES + 1):
            answer = self._authorised("GET", self._url(path, {"page": str(page)}), None, None, True)
            envelope = self._envelope(answer)
            result = envelope.get("result")
            items = result if isinstance(result, list) else []
            found.extend(items)
            info = envelope.get("result_info")
            info = info if isinstance(info, dict) else {}
            if not items or page * info.get("per_page", 0) >= info.get("total_count", 0):
                break
        return found

    def page(self, *path: str, query: Mapping[str, str]) -> tuple[list[Any], str]:
        """
        Read one page of a list that comes with a cursor; the cursor is empty when there is no more.

        Raises: as `call`.
        """
        envelope = self._envelope(self._authorised("GET", self._url(path, query), None, None, True))
        result, info = envelope.get("result"), envelope.get("result_info")
        cursor = info.get("cursor") if isinstance(info, dict) else None
        return result if isinstance(result, list) else [], str(cursor or "")

    def raw(self, *path: str) -> bytes:
        """
        Read something that has no envelope.

        Raises: as `call`.
        """
        answer = self._authorised("GET", self._url(path, None), None, None, True)
        if answer.status != 200:
            self._envelope(answer)
        return answer.body

    def call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        document: Any = None,
        body: Body | None = None,
        progress: Progress | None = None,
        repeatable: bool = False,
    ) -> Any:
        """
        One call; returns `result`.

        Args:
            path: Segments, which are escaped here.
            document: A JSON body; else `body`, else none.
            repeatable: Whether it may be sent again when no good answer came.

        Raises:
            ApiError: the server refused or failed.
            Unreachable: no answer came.
            Failure: nobody is logged in.
        """
        if document is not None:
            body = Content("application/json", json.dumps(document).encode())
        answer = self._authorised(method, self._url(path, query), body, progress, repeatable)
        return self._envelope(answer).get("result")

    def _url(self, path: tuple[str, ...], query: Mapping[str, str] | None) -> str:
        for part in path:
            # They would make it the path of something else: of the list that the thing is in.
            if part in ("", ".", ".."):
                raise usage(f"{part!r} is the name of nothing.")
        url = self.base_url + _PREFIX + "".join("/" + quote(part, safe="") for part in path)
        return f"{url}?{urlencode(query)}" if query else url

    def _authorised(
        self, method: str, url: str, body: Body | None, progress: Progress | None, again: bool
    ) -> Answer:
        """
        With a fresh token if the first one is no longer taken.
        """
        token = self.authorization.token()
        answer = self._attempts(method, url, token, body, progress, again)
        if answer.status == 401 and self.authorization.rejected(token):
            token = self.authorization.token()
            answer = self._attempts(method, url, token, body, progress, again)
        if answer.status == 401:
            raise login_needed(f"{self.base_url} does not accept your login.")
        return answer

    def _attempts(
        self,
        method: str,
        url: str,
        token: str,
        body: Body | None,
        progress: Progress | None,
        again: bool,
    ) -> Answer:
        waits = list(_WAITS) if again else []
        while True:
            try:
                answer = self.http.send(
                    method,
                    url,
                    headers={"Authorization": f"Bearer {token}"},
                    body=body,
                    progress=progress,
                    answer_seconds=120.0 if body is not None else None,
                )
            except Unreachable:
                if not waits:
                    raise
                self.sleep(waits.pop(0))
                continue
            if answer.status not in _TRANSIENT or not waits:
                return answer
            wait = _retry_after(answer)
            if wait is not None and wait > _LONGEST_RETRY_AFTER:
                return answer
            planned = waits.pop(0)
            self.sleep(planned if wait is None else float(wait))

    def _envelope(self, answer: Answer) -> dict[str, Any]:
        if answer.status in (204, 205) and not answer.body:
            return {"success": True, "result": {}}
        if 300 <= answer.status < 400:
            raise Failure(
                f"{self.base_url} sends us elsewhere ({answer.headers.get('location', '?')}).",
                hint="set the address that the server really has: `wrkst config set-url URL`",
            )
        try:
            envelope = json.loads(answer.body)
        except ValueError:
            envelope = None
        if not isinstance(envelope, dict) or not isinstance(envelope.get("success"), bool):
            raise Failure(
                f"{self.base_url} did not answer as workerd-faas does (status {answer.status}): "
                + repr(answer.body[:100].decode("utf-8", "replace")),
                hint="check the address with `wrkst config show`",
            )
        if envelope["success"]:
            for message in _texts(envelope.get("messages")):
                self.notice(message)
            return envelope
        raise ApiError(
            answer.status, _errors(envelope.get("errors")), answer.headers.get("cf-ray", "")
        )


def _errors(found: Any) -> tuple[tuple[int | None, str], ...]:
    errors = []
    for each in found if isinstance(found, list) else []:
        if isinstance(each, dict):
            code = each.get("code")
            errors.append((code if isinstance(code, int) else None, str(each.get("message"))))
    return tuple(errors)


def _texts(messages: Any) -> Iterator[str]:
    for each in messages if isinstance(messages, list) else []:
        text = each.get("message") if isinstance(each, dict) else each
        if isinstance(text, str):
            yield text


def _retry_after(answer: Answer) -> int | None:
    text = answer.headers.get("retry-after", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
