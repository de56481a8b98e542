"""A name server whose answers change from one question to the next, on an address of its own."""

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

_A, _AAAA, _IN = 1, 28, 1
_HEADER: Final = struct.Struct("!HHHHHH")


@attrs.define(eq=False)
class Names:
    """
    Answers questions for IPv4 addresses.

    Attributes:
        address: Where it listens, at the port of DNS.
        answers: By name, the addresses of each answer in turn; the last ones go on.
        asked: How often each name was asked for.
    """

    address: str
    answers: dict[str, list[list[str]]]
    _socket: socket.socket
    asked: Counter[str] = attrs.Factory(Counter)

    def serve(self) -> None:
        """
        Answer until an empty question comes.
        """
        while True:
            question, client = self._socket.recvfrom(512)
            if not question:
                return
            self._socket.sendto(self._answer(question), client)

    def _answer(self, question: bytes) -> bytes:
        number, *_ = _HEADER.unpack_from(question)
        labels, at = [], _HEADER.size
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii"))
            at += 1 + question[at]
        name = ".".join(labels).lower()
        kind, _ = struct.unpack_from("!HH", question, at + 1)
        known = self.answers.get(name)
        addresses: list[str] = []
        if known is not None and kind == _A:
            addresses = known[min(self.asked[name], len(known) - 1)]
            self.asked[name] += 1
        flags = 0x8180 if known is not None else 0x8183
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, _A, _IN, 0, 4) + socket.inet_aton(address)
            for address in addresses
        )
        asked = question[_HEADER.size : at + 5]
        return _HEADER.pack(number, flags, 1, len(addresses), 0, 0) + asked + records


@contextmanager
def answering(answers: dict[str, list[list[str]]]) -> Iterator[Names]:
    """
    One that runs. The port cannot be chosen, so it has a loopback address of its own.

    Raises:
        OSError: this process may not.
    """
    address = f"127.{random.randrange(64, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((address, 53))
        names = Names(address, answers, listening)
        thread = threading.Thread(target=names.serve)
        thread.start()
        try:
            yield names
        finally:
            listening.sendto(b"", listening.getsockname())
            thread.join()
