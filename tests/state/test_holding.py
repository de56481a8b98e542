"""State cells that stand still while somebody takes an instant of their data."""

import os
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.runtime.support import ACCOUNT, OTHER
from tests.state.support import StateCase, manage
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.runtime.state.fleet import StateFleet
from workerd_faas.usecases.serial import SerialByName
from workerd_faas.usecases.storage.instants import Instants

SELECT = [{"sql": "SELECT 1"}]


def is_stopped(pid: int) -> bool:
    """
    Whether the kernel does not let it run.
    """
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "T"


class HoldingTests(StateCase):
    """
    Real processes, stopped and let go.
    """

    def asked(self, state: StateFleet) -> "Deferred[object]":
        """
        A question that is under way.
        """
        return Deferred.fromCoroutine(manage(state, "POST", "/d1/query", "db", SELECT))

    async def test_what_is_asked_meanwhile_waits(self) -> None:
        """
        The process is stopped, a question is answered after the release, and by the same process;
        the other account's is not stopped.
        """
        state = await self.state_fleet()
        await self.asked(state)
        pid = self.pid(state)
        await state.hold(OTHER)
        self.assertFalse(is_stopped(pid))
        await state.hold(ACCOUNT)
        await self.until(lambda: is_stopped(pid))
        waiting = self.asked(state)
        self.assertFalse(waiting.called)
        self.assertTrue(state.release(ACCOUNT))
        await waiting
        self.assertEqual(self.pid(state), pid)
        self.assertTrue(state.release(OTHER))

    async def test_no_process_is_started_meanwhile(self) -> None:
        """
        Of an account without a process none is started before the release.
        """
        state = await self.state_fleet()
        await state.hold(ACCOUNT)
        waiting = self.asked(state)
        self.assertEqual(state.cells(), ())
        self.assertTrue(state.release(ACCOUNT))
        await waiting

    async def test_a_process_that_is_killed_meanwhile_is_replaced_afterwards(self) -> None:
        """
        A stopped process can be killed, and the next one starts with the release.
        """
        state = await self.state_fleet()
        await self.asked(state)
        pid = self.pid(state)
        await state.hold(ACCOUNT)
        os.kill(pid, 9)
        await self.until(lambda: not state.cells())
        waiting = self.asked(state)
        self.assertEqual(state.cells(), ())
        state.release(ACCOUNT)
        await waiting
        self.assertNotEqual(self.pid(state), pid)

    async def test_a_fleet_that_stops_says_so(self) -> None:
        """
        A hold that the fleet's end cut short was none, and there is no other after it.
        """
        state = await self.state_fleet()
        await self.asked(state)
        await state.hold(ACCOUNT)
        await state.stop(within=0.1)
        self.assertFalse(state.release(ACCOUNT))
        with self.assertRaises(Problem) as caught:
            await state.hold(ACCOUNT)
        self.assertIs(caught.exception.kind, Kind.UNAVAILABLE)

    async def test_removals_and_instants_take_turns(self) -> None:
        """
        An instant begins when the removal before it is over, and holds up the next one.
        """
        state, turns = await self.state_fleet(), SerialByName()
        instants = Instants(holds=state, turns=turns)
        events: list[str] = []
        removal: Deferred[None] = Deferred()
        over: Deferred[None] = Deferred()

        async def remove() -> None:
            events.append("removing")
            await removal

        async def remove_again() -> None:
            events.append("removing again")

        def held() -> "Deferred[None]":
            events.append("held")
            return over

        first = Deferred.fromCoroutine(turns.run(ACCOUNT, remove))
        instant = Deferred.fromCoroutine(instants.during(ACCOUNT, held))
        last = Deferred.fromCoroutine(turns.run(ACCOUNT, remove_again))
        self.assertEqual(events, ["removing"])
        removal.callback(None)
        await first
        await self.until(lambda: "held" in events)
        self.assertEqual(events, ["removing", "held"])
        over.callback(None)
        self.assertTrue(await instant)
        await last
        self.assertEqual(events[-1], "removing again")
