"""Stages, owned jobs and the service manager's protocol."""

import socket
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.lifecycle import OwnedJobs, ServiceManager, StagedService


@attrs.define
class RecordingStage:
    """
    A stage that says what happens to it.
    """

    name: str
    said: list[str]

    async def start(self) -> None:
        """
        See `lifecycle.Stage`.
        """
        self.said.append(f"start {self.name}")

    async def stop(self) -> None:
        """
        See `lifecycle.Stage`.
        """
        self.said.append(f"stop {self.name}")


class FailingStop(RecordingStage):
    """
    A stage that does not stop cleanly.
    """

    async def stop(self) -> None:
        """
        See `lifecycle.Stage`.
        """
        raise RuntimeError("no")


class RunningReactor(Clock):
    """
    A clock that counts as running.
    """

    def callWhenRunning(self, call: Any) -> None:
        """
        It runs already.
        """
        call()

    def callFromThread(self, call: Any) -> None:
        """
        No threads here.
        """
        call()


class StagedServiceTests(SynchronousTestCase):
    """
    Order of starting and stopping.
    """

    def test_stages_stop_in_reverse_even_when_one_fails(self) -> None:
        """
        Stages start in order and stop in reverse; one that fails to stop hinders no other.
        """
        said: list[str] = []
        reactor = RunningReactor()
        stages = [
            ("a", RecordingStage("a", said)),
            ("b", FailingStop("b", said)),
            ("c", RecordingStage("c", said)),
        ]
        service = StagedService(reactor, stages, ServiceManager(reactor, None, None))
        service.startService()
        self.assertEqual(said, ["start a", "start b", "start c"])
        self.successResultOf(service.stopService())
        self.assertEqual(said[3:], ["stop c", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class OwnedJobsTests(SynchronousTestCase):
    """
    Work whose client may go.
    """

    def test_cancelling_the_waiter_leaves_the_work_running(self) -> None:
        """
        The job ends although its waiter was cancelled, and stopping waits for it.
        """
        jobs, gate, done = OwnedJobs(), Deferred[None](), []

        async def work() -> None:
            await gate
            done.append(True)

        waiter = jobs.finish(work)
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        stopping = Deferred.fromCoroutine(jobs.stop())
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(done, [True])

    def test_the_outcome_reaches_the_waiter(self) -> None:
        """
        Results and exceptions of the job are those of the waiter.
        """

        async def good() -> int:
            return 7

        async def bad() -> int:
            raise LookupError

        jobs = OwnedJobs()
        self.assertEqual(self.successResultOf(jobs.finish(good)), 7)
        self.failureResultOf(jobs.finish(bad), LookupError)

    def test_a_failure_that_nobody_awaits_is_logged(self) -> None:
        """
        When the client has gone, the job's exception is in the log.
        """
        jobs, gate = OwnedJobs(), Deferred[None]()

        async def work() -> None:
            await gate
            raise LookupError

        waiter = jobs.finish(work)
        waiter.addErrback(lambda _: None)
        waiter.cancel()
        gate.callback(None)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_a_problem_that_nobody_awaits_is_no_error(self) -> None:
        """
        What would have been the answer to a client that has gone is no error in the log.
        """
        jobs, gate = OwnedJobs(), Deferred[None]()

        async def work() -> None:
            await gate
            raise Problem(kind=Kind.BAD_REQUEST, message="gone")

        waiter = jobs.finish(work)
        waiter.addErrback(lambda _: None)
        waiter.cancel()
        gate.callback(None)
        self.assertEqual(self.flushLoggedErrors(), [])


class ServiceManagerTests(SynchronousTestCase):
    """
    sd_notify.
    """

    def test_ready_watchdog_and_stopping_are_sent(self) -> None:
        """
        The manager hears READY once, WATCHDOG in time, and STOPPING.
        """
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(str(path))
            heard.settimeout(5)
            clock = Clock()
            environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "3000000"}
            manager = ServiceManager.from_environment(clock, environ)
            manager.ready()
            self.assertIn(b"READY=1\n", heard.recv(100))
            self.assertEqual(heard.recv(100), b"WATCHDOG=1")
            clock.advance(1)
            self.assertEqual(heard.recv(100), b"WATCHDOG=1")
            manager.stopping()
            self.assertEqual(heard.recv(100), b"STOPPING=1")
            manager.close()
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_without_a_manager_nothing_is_sent(self) -> None:
        """
        Without NOTIFY_SOCKET, or with a dead one, nothing happens and nothing fails.
        """
        for environ in ({}, {"NOTIFY_SOCKET": "/nonexistent"}, {"NOTIFY_SOCKET": "@nobody"}):
            manager = ServiceManager.from_environment(Clock(), environ)
            manager.ready()
            manager.stopping()
            manager.close()
