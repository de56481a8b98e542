"""Requests of cells to the daemon, of which none may be larger than it is made for."""

from typing import Final

from twisted.web.server import Request

MIB: Final = 1 << 20


class BoundedRequest(Request):
    """
    A body that is too long is not kept, whether it says its length or comes in chunks: the
    connection ends. Whoever sends one is not our router but what has taken its process over.

    Attributes:
        most: Bytes of a body.
    """

    most = MIB
    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > self.most:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self.most:
            self._refuse()
        elif not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        if not self._refused:
            self._refused = True
            assert self.content is not None
            assert self.channel is not None
            self.content.close()
            self.channel.loseConnection()
