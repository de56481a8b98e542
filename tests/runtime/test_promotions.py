"""Which versions get a process of their own, and for how long."""

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.runtime.support import ACCOUNT, OTHER, MemoryLoader, code
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind
from workerd_faas.runtime.cell import Cell
from workerd_faas.runtime.probe import Health
from workerd_faas.runtime.promoted import Promoted, promoted
from workerd_faas.runtime.promotions import CALM, COOL, Promotions
from workerd_faas.runtime.slot import Slot, unavailable
from workerd_faas.wire.bundle import load_document_for_check

HELLO = 'export default { fetch: () => new Response("hello") };'


class _Cell:
    """
    As much of a cell as promotions look at.
    """

    def __init__(self) -> None:
        self.health = Health()
        self.upstream = _Upstream()


@attrs.define
class _Upstream:
    served: int = 0


class _Slot(Slot):
    """
    A slot whose cell comes when the test says so.
    """

    def when_ready(self, then):  # type: ignore[no-untyped-def]
        """
        See `Slot`.
        """
        self.told = then
        return lambda: None


class PromotionTests(SynchronousTestCase):
    """
    With a clock, and no processes.
    """

    def setUp(self) -> None:
        """
        Room for everything, and versions `a`, `b` and `c`.
        """
        self.clock = Clock()
        self.loader = MemoryLoader(versions=dict.fromkeys("abc", code(HELLO)))
        self.left: list[str] = []
        self.room = True
        self.slots: dict[str, _Slot] = {}
        self.promotions = Promotions(
            reactor=self.clock,
            loader=self.loader,
            most=1,
            room=lambda: self.room,
            place=self._place,
            leave=lambda slot, soon: self.left.append(slot.key),
        )

    def _place(self, version: Promoted) -> Slot:
        slot = self.slots[version.version_id] = _Slot(
            key=version.key,
            account_id=version.account_id,
            reactor=self.clock,
            wait=1,
            owner=None,  # type: ignore[arg-type]
            promoted=version,
        )
        return slot

    def promote(self, version_id: str, account_id: str = ACCOUNT, *, come: bool = True) -> None:
        """
        It is called much.
        """
        work = self.promotions.promote(account_id, version_id)
        self.successResultOf(Deferred.fromCoroutine(work))
        if come and version_id in self.promotions and version_id not in self.promotions.keys:
            slot = self.slots[version_id]
            cell = _Cell()
            slot.current = cell  # type: ignore[assignment]
            slot.told(cell.upstream)

    def cell(self, version_id: str) -> Cell:
        """
        Its cell.
        """
        cell = self.slots[version_id].current
        assert cell is not None
        return cell

    def pass_seconds(self, seconds: float, served: int) -> None:
        """
        With so many requests in each of them.
        """
        for _ in range(round(seconds)):
            self.clock.advance(1)
            for version_id in self.promotions.keys:
                self.cell(version_id).upstream.served += served
            self.promotions.tick()

    def test_as_many_as_an_account_may_have(self) -> None:
        """
        Another one of the account is not promoted, one of another account is.
        """
        self.promote("a")
        self.promote("b")
        self.promote("c", OTHER)
        self.assertEqual(set(self.promotions.keys), {"a", "c"})

    def test_only_what_is_ready_gets_requests(self) -> None:
        """
        Until its process is there, requests go where they went; if none comes, it has to wait.
        """
        self.promote("a", come=False)
        self.assertEqual(self.promotions.keys, {})
        self.slots["a"].told(unavailable("no", 1))
        self.promote("a")
        self.assertEqual(self.promotions.keys, {})
        self.clock.advance(60)
        self.promote("a")
        self.assertEqual(set(self.promotions.keys), {"a"})

    def test_while_it_is_called_much(self) -> None:
        """
        It ends when it has been called little for a while, and may be promoted again at once.
        """
        self.promote("a")
        self.pass_seconds(5 * CALM, COOL)
        self.assertEqual(self.left, [])
        self.pass_seconds(CALM + 1, COOL - 1)
        self.assertEqual((self.left, self.promotions.keys), ([self.slots["a"].key], {}))
        self.promote("a")
        self.assertEqual(set(self.promotions.keys), {"a"})

    def test_who_speaks_waits_longer_each_time(self) -> None:
        """
        What says something is demoted at once, and waits eight times as long after each time.
        """
        for pause in (60, 480, 3840):
            self.promote("a")
            self.cell("a").health = Health(loud=True)
            self.pass_seconds(1, 100)
            self.assertEqual(self.promotions.keys, {})
            self.clock.advance(pause - 1)
            self.promote("a")
            self.assertEqual(self.promotions.keys, {})
            self.clock.advance(1)

    def test_no_room(self) -> None:
        """
        Without room nothing is promoted, and what is promoted makes room for others.
        """
        self.room = False
        self.promote("a")
        self.assertEqual((self.promotions.keys, self.promotions.give_one_up()), ({}, False))
        self.room = True
        self.promote("a")
        self.assertTrue(self.promotions.give_one_up())
        self.assertEqual((self.left, self.promotions.keys), ([self.slots["a"].key], {}))

    def test_what_changes_while_it_is_loaded(self) -> None:
        """
        A document that was asked for before something changed is not used.
        """
        answer: Deferred[None] = Deferred()
        self.loader.wait = lambda: answer
        loading = Deferred.fromCoroutine(self.promotions.promote(ACCOUNT, "a"))
        self.promotions.demote(lambda _: True, "all change")
        answer.callback(None)
        self.successResultOf(loading)
        self.assertEqual((self.slots, "a" in self.promotions), ({}, False))

    def test_what_cannot_be_had(self) -> None:
        """
        A version that is gone or cannot be fetched is not asked for all the time.
        """
        self.loader.broken = Problem(kind=Kind.VERSION_NOT_FOUND, message="gone")
        self.promote("a")
        self.promote("a")
        self.assertEqual(len(self.loader.asked), 1)

    def test_a_process_that_ends(self) -> None:
        """
        When its process has ended the version is not promoted any more; not when another one has
        taken its place.
        """
        self.promote("a")
        slot = self.slots["a"]
        self.promotions.lost(slot, asked=True)
        self.assertIn("a", self.promotions)
        slot.current = None
        self.promotions.lost(slot, asked=False)
        self.assertNotIn("a", self.promotions)

    def test_what_needs_a_router(self) -> None:
        """
        Versions with objects in `env`, old scripts, too much code, or code that no configuration
        can hold are not promoted.
        """
        kv = Binding(name="KV", kind=BindingKind.KV_NAMESPACE, value={"namespace_id": "n"})
        for text in (
            attrs.evolve(code(HELLO), bindings=(kv,)),
            code(f"/*{'x' * (4 << 20)}*/{HELLO}"),
            code(HELLO + "// \0"),
        ):
            self.assertIsNone(promoted(load_document_for_check(text, "fn"), ACCOUNT, "v"))
        self.assertIsNone(promoted(b"", ACCOUNT, "v"))
        self.assertIsNotNone(promoted(load_document_for_check(code(HELLO), "fn"), ACCOUNT, "v"))
