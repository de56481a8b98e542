"""
Heads that have been read, remembered by their bytes: clients and functions repeat them.

At most 2 · 512 heads of 4 KiB each way, with what they became: some 8 MiB.
"""

from typing import Final

from workerd_faas.ingress.headers import Request, Response, prepare_request, prepare_response
from workerd_faas.ingress.hosts import Place, place_of
from workerd_faas.ingress.http1 import Malformed, parse_request, parse_response
from workerd_faas.ingress.limits import RelayLimits
from workerd_faas.ingress.memo import Memo

_ENTRIES: Final = 512
_REMEMBERED: Final = 4096
_REMEMBERED_HOST: Final = 256


class RequestHeads:
    """
    Requests by their heads.

    Attributes:
        recent: The request of a head that was met lately, or None.
    """

    def __init__(self, limits: RelayLimits, base_domain: str) -> None:
        self._limits = limits
        self._base_domain = base_domain
        self._requests: Memo[bytes, Request] = Memo(_ENTRIES)
        self._places: Memo[bytes, Place] = Memo(_ENTRIES)
        self.recent = self._requests.recent

    def read(self, head: bytes) -> Request:
        """
        The request of a head, complete with its empty line.

        Raises:
            Malformed: with the status to answer.
        """
        request = self._requests.get(head)
        if request is None:
            limits = self._limits
            parsed = parse_request(
                head, max_line=limits.request_line_bytes, max_fields=limits.header_count
            )
            request = prepare_request(parsed, self.place_of(parsed.host))
            if len(head) <= _REMEMBERED:
                self._requests.offer(head, request)
        return request

    def place_of(self, host: bytes) -> Place:
        """
        Whose host it is.
        """
        place = self._places.get(host)
        if place is None:
            place = place_of(host, self._base_domain)
            if len(host) <= _REMEMBERED_HOST:
                self._places.offer(host, place)
        return place


class ResponseHeads:
    """
    Responses by their heads.

    Attributes:
        recent: The response of a head that was met lately, or None.
    """

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._responses: Memo[bytes, Response] = Memo(_ENTRIES)
        self.recent = self._responses.recent

    def read(self, head: bytes) -> Response:
        """
        The response of a head, complete with its empty line.

        Raises:
            Malformed: it cannot be passed on.
        """
        self.check_length(head)
        response = self._responses.get(head)
        if response is None:
            response = prepare_response(parse_response(head, max_fields=self._limits.header_count))
            if len(head) <= _REMEMBERED:
                self._responses.offer(head, response)
        return response

    def check_length(self, part: bytes) -> None:
        """
        A head is not complete yet: may it go on?

        Raises:
            Malformed: it is too long already.
        """
        most = self._limits.response_head_bytes
        if len(part) > most:
            raise Malformed(f"Its head is larger than {most} bytes.")
