"""Lines, back-off, verdicts, control lines, answers: pure parts of the runtime."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.support import code, module
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import ModuleKind
from workerd_faas.runtime import status, verdict
from workerd_faas.runtime.backoff import CALM, MOST, Backoff
from workerd_faas.runtime.cell import Cause, Death
from workerd_faas.runtime.lines import Allowance, LineSplitter
from workerd_faas.runtime.probe import Health, health
from workerd_faas.runtime.process import Exit, listening_socket
from workerd_faas.runtime.unix_http import Answer, NoAnswer, parse_answer, request_bytes


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """
    The data in pieces.
    """
    edges = [0, *sorted(min(n, len(data)) for n in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


class TestLines:
    """
    `LineSplitter` and `Allowance`.
    """

    @given(st.lists(st.text("ab", max_size=9)), st.lists(st.integers(0, 99)))
    def test_lines_do_not_depend_on_cuts(self, words: list[str], at: list[int]) -> None:
        """
        However the bytes are cut, the same lines come out.
        """
        lines = [word.encode() for word in words]
        splitter = LineSplitter(limit=9)
        found = [line for piece in cut(b"\n".join(lines), at) for line in splitter.feed(piece)]
        unended = [line for line in lines[-1:] if line]
        assert [*found, *splitter.end()] == [*lines[:-1], *unended]

    @given(st.integers(0, 40), st.lists(st.integers(0, 60)))
    def test_long_lines_are_cut(self, length: int, at: list[int]) -> None:
        """
        A line that is too long is cut once, and the next one is whole.
        """
        splitter = LineSplitter(limit=10)
        data = b"x" * length + b"\nnext\n"
        found = [line for piece in cut(data, at) for line in splitter.feed(piece)]
        assert found == [b"x" * min(length, 10), b"next"]

    def test_allowance(self) -> None:
        """
        A burst is let through, then the rate; what was refused is counted once.
        """
        allowance = Allowance(per_second=2, burst=3)
        assert [allowance.take(5.0) for _ in range(5)] == [True] * 3 + [False] * 2
        assert [allowance.take(5.5), allowance.take(5.5)] == [True, False]
        assert allowance.take_refused() == 3
        assert allowance.take_refused() == 0
        assert [allowance.take(99.0) for _ in range(4)] == [True] * 3 + [False]


class TestBackoff:
    """
    `Backoff`.
    """

    @given(st.lists(st.floats(0, 0.99), min_size=3, max_size=60))
    def test_delays_grow_and_are_bounded(self, chances: list[float]) -> None:
        """
        The first restart is immediate, no delay is beyond the most, none is negative.
        """
        backoff = Backoff()
        delays = []
        for chance in chances:
            backoff.died(100.0, 1.0, chance)
            delays.append(backoff.remaining(100.0))
        assert delays[0] == 0
        assert all(0 < delay <= MOST * 1.25 for delay in delays[1:])

    def test_four_deaths_in_a_row_cost_less_than_a_second(self) -> None:
        """
        The delays of four deaths running sum to less than one second.
        """
        backoff = Backoff()
        total = 0.0
        for _ in range(4):
            backoff.died(0.0, 0.0, 0.99)
            total += backoff.remaining(0.0)
        assert total < 1.0

    def test_a_calm_life_forgives(self) -> None:
        """
        After a long life the next death restarts at once; a life that never began does not count.
        """
        backoff = Backoff()
        for _ in range(9):
            backoff.died(0.0, None, 0.5)
        assert backoff.remaining(0.0) > 1
        backoff.died(50.0, CALM, 0.5)
        assert backoff.remaining(50.0) == 0


class TestControl:
    """
    workerd's control lines and the router's answers.
    """

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (b'{"event":"listen","socket":"http","port":0}', "http"),
            (b'{"event":"listen-inspector","port":1}', None),
            (b'{"event":"listen","socket":7}', None),
            (b"[]", None),
            (b"not json", None),
            (b"\xff", None),
            (b"", None),
        ],
    )
    def test_control_lines(self, line: bytes, expected: str | None) -> None:
        """
        Only a listen event names a socket.
        """
        assert listening_socket(line) == expected

    def test_health(self) -> None:
        """
        A router's answer is read; anything else is no answer.
        """
        assert health(b'{"loaded":3,"pending":2,"loads":9}') == Health(pending=2, loaded=3)
        infinite, deep = b'{"pending":1e999}', b"[" * 100_000
        for body in (b"", b"[]", b"null", b'{"pending":"x"}', b"\xff", infinite, deep):
            with pytest.raises(NoAnswer):
                health(body)

    def test_who_is_busy(self) -> None:
        """
        Of what a cell says to be busy only functions that it was given count: others are none of
        its business, and would be blamed for its end.
        """
        body = json.dumps({"busy": ["mine", "theirs", 5, ["mine"]]}).encode()
        assert health(body, {"mine", "more"}).busy == ("mine",)
        assert health(body).busy == ()


class TestAnswers:
    """
    The small HTTP client.
    """

    ANSWER = b"HTTP/1.1 201 Created\r\nContent-Type: x\r\ncontent-LENGTH: 5\r\n\r\nhello"

    @given(st.integers(0, len(ANSWER)))
    def test_an_answer_is_whole_or_not(self, length: int) -> None:
        """
        No beginning of an answer is taken for one.
        """
        expected = Answer(201, b"hello") if length == len(self.ANSWER) else None
        assert parse_answer(self.ANSWER[:length]) == expected

    @pytest.mark.parametrize(
        "head", [b"SSH-2.0", b"HTTP/1.1 200 OK", b"HTTP/1.1 x\r\nContent-Length: y"]
    )
    def test_other_things_are_refused(self, head: bytes) -> None:
        """
        What is no such answer raises ValueError.
        """
        with pytest.raises(ValueError):
            parse_answer(head + b"\r\n\r\n")

    def test_requests(self) -> None:
        """
        A body makes a POST with its length.
        """
        assert request_bytes({"a": "b"}, None).startswith(b"GET / HTTP/1.1\r\n")
        assert request_bytes({}, b"xyz").endswith(b"content-length: 3\r\n\r\nxyz")


def refusal(body: Any) -> str:
    """
    The message with which `verdict.report` refuses.
    """
    with pytest.raises(Problem) as caught:
        verdict.report(json.dumps(body).encode())
    assert caught.value.kind is Kind.INVALID_SCRIPT
    return caught.value.message


class TestVerdict:
    """
    What is made of a check cell's answer.
    """

    def test_reports(self) -> None:
        """
        Handlers are listed once each, bounded in number and length, whatever the code says.
        """
        listed = ["fetch", "fetch", 5, None, "x" * 1000, *(f"C{n}" for n in range(2000))]
        body = json.dumps({"startup_ms": 3, "handlers": json.dumps(listed)}).encode()
        report = verdict.report(body)
        assert report.startup_ms == 3
        assert report.handlers[:2] == ("fetch", "C0")
        assert len(report.handlers) <= 500
        assert max(map(len, report.handlers)) <= 200

    @pytest.mark.parametrize("handlers", ["", "{}", "5", '"fetch"', "nonsense"])
    def test_senseless_handlers(self, handlers: str) -> None:
        """
        A list that is none is the code's fault.
        """
        assert "could not be listed" in refusal({"startup_ms": 1, "handlers": handlers})

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"handlers":"[1]","startup_ms":"x"}'])
    def test_senseless_answers(self, body: bytes) -> None:
        """
        An answer that is none is not the code's fault.
        """
        with pytest.raises((ValueError, KeyError, TypeError, Problem)) as caught:
            verdict.report(body)
        if isinstance(caught.value, Problem):
            assert "handlers" in caught.value.message

    def test_messages(self) -> None:
        """
        workerd's message is passed on without its prefix, without lines of ours, and bounded.
        """
        text = (
            "Failed to start Worker:\nUncaught Error: x\n  at a.js:1:2\n  at __workerd_faas.js:2:1"
        )
        assert refusal({"error": text}) == "Uncaught Error: x\n  at a.js:1:2"
        assert len(refusal({"error": "y" * 100000})) < 10000
        assert refusal({"error": ""}) == "The script does not load."

    def test_main_module(self) -> None:
        """
        The main module must be there as an ES module; a source map of its name does not count.
        """
        verdict.check_main_module(code("export {}"))
        source_map = module("index.js", "{}", ModuleKind.SOURCE_MAP)
        for upload in (
            code("x", main="y.js"),
            code(source_map),
            code(module("m", "", ModuleKind.TEXT)),
        ):
            with pytest.raises(Problem):
                verdict.check_main_module(upload)

    def test_fatal(self) -> None:
        """
        Time, memory and crashes have messages of their own.
        """

        def message(cause: Cause, *words: str) -> str:
            death = Death(cause=cause, how=Exit(None, 5), in_flight=0, lived=1.0, last_words=words)
            return verdict.fatal(death, 1.0).message

        assert message(Cause.OVER_LIMIT) == (
            "Script startup exceeded CPU time limit: it has 1 s to load its modules."
        )
        assert "memory" in message(Cause.CRASHED, "x", "JavaScript heap out of memory")
        assert "SIGTRAP" in message(Cause.CRASHED, "# Fatal JavaScript invalid size error")


def test_process_figures(tmp_path: Path) -> None:
    """
    Memory and CPU time are read from /proc; a process that has gone has none.
    """
    import os

    assert status.resident_bytes(os.getpid()) > 1 << 20
    assert status.cpu_seconds(os.getpid()) > 0
    assert status.data_bytes(os.getpid()) > 1 << 20
    assert status.resident_bytes(None) == status.cpu_seconds(None) == status.data_bytes(None) == 0
    (tmp_path / "7").mkdir()
    stat = "7 (a ) b) T 1 2 3 4 5 6 7 8 9 10 300 200 " + " ".join("0" * 8) + " 10"
    (tmp_path / "7" / "stat").write_text(stat)
    assert status.usage(7, tmp_path) == status.Usage(
        "T", 500 / os.sysconf("SC_CLK_TCK"), 10 * os.sysconf("SC_PAGE_SIZE")
    )
    assert status.usage(8, tmp_path) == status.Usage()
