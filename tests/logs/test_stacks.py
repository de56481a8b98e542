"""Stack traces in the user's own files."""

import json
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from tests.logs.reports import VERSION, exception, invocation
from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Module, ModuleKind
from workerd_faas.usecases.logs import stacks
from workerd_faas.usecases.logs.stacks import Stacks
from workerd_faas.wire.bundle import encode_bundle

MAP = {"version": 3, "sources": ["src/index.ts"], "names": [], "mappings": "AASA"}


@attrs.define
class Catalog:
    """
    Has one version.
    """

    account_id: str = "a" * 32

    async def version_to_run(self, account_id: str | None, version_id: str) -> Any:
        """
        See `usecases.ports.Catalog.version_to_run`.
        """
        if (account_id, version_id) != (self.account_id, VERSION):
            raise Problem(kind=Kind.VERSION_NOT_FOUND, message="no such version")
        return self

    bundle: str = "digest"


@attrs.define
class Bundles:
    """
    Counts how often it is read.
    """

    content: bytes
    read: int = 0

    async def get(self, digest: str) -> bytes:
        """
        See `usecases.ports.Bundles.get`.
        """
        self.read += 1
        return self.content


def bundle(content: bytes) -> bytes:
    """
    A bundle with a source map.
    """
    return encode_bundle(
        "index.js",
        [
            Module(name="index.js", kind=ModuleKind.ESM, content=b"export default {}"),
            Module(name="index.js.map", kind=ModuleKind.SOURCE_MAP, content=content),
        ],
    )


class StacksTests(SynchronousTestCase):
    """
    Reading positions back.
    """

    def make(self, content: bytes = json.dumps(MAP).encode()) -> Stacks:
        """
        The version has this source map.
        """
        self.bundles = Bundles(bundle(content))

        async def now(work: Any) -> Any:
            return work()

        catalog: Any = Catalog()
        bundles: Any = self.bundles
        return Stacks(catalog=catalog, bundles=bundles, in_thread=now)

    def shown(self, made: Stacks, **changes: Any) -> Any:
        """
        The event as it is shown.
        """
        found = invocation("x", **changes)
        return json.loads(self.successResultOf(Deferred.fromCoroutine(made.shown(found))))

    def test_stacks_are_read_back(self) -> None:
        """
        Exceptions, and errors that were printed, name the user's file and line.
        """
        made = self.make()
        stack = "    at fetch (index.js:1:2)\n    at elsewhere (other.js:1:1)"
        logs = [{"message": ["E"], "level": "error", "errorInfo": [{"stack": stack}]}]
        event = self.shown(made, logs=logs, exceptions=[exception(stack=stack)])
        expected = "    at fetch (src/index.ts:10:1)\n    at elsewhere (other.js:1:1)"
        self.assertEqual(event["exceptions"][0]["stack"], expected)
        self.assertEqual(event["logs"][0]["errorInfo"][0]["stack"], expected)

    def test_maps_are_read_once(self) -> None:
        """
        Many events at once read the bundle once, and those without stack traces never.
        """
        made = self.make()
        self.shown(made)
        self.assertEqual(self.bundles.read, 0)
        found = invocation("x", exceptions=[exception()])
        both = [Deferred.fromCoroutine(made.shown(found)) for _ in range(5)]
        self.successResultOf(gatherResults(both))
        self.assertEqual(self.bundles.read, 1)

    def test_what_cannot_be_read_back_stays(self) -> None:
        """
        Without a map, with one that is none or too long, and after the version was deleted, the
        event is shown as it is.
        """
        long = json.dumps(MAP | {"mappings": "A" * (stacks.MAX_MAPPINGS + 1)}).encode()
        for content in (b"{", b"null", long, json.dumps(MAP | {"mappings": ";;!"}).encode()):
            event = self.shown(self.make(content), exceptions=[exception()])
            self.assertIn("index.js:1:2", event["exceptions"][0]["stack"])
        made = self.make()
        catalog: Any = made.catalog
        catalog.account_id = "b" * 32
        event = self.shown(made, exceptions=[exception()])
        self.assertIn("index.js:1:2", event["exceptions"][0]["stack"])

    def test_memory_is_bounded(self) -> None:
        """
        Maps of versions that were not used lately are let go.
        """
        made = self.make()
        self.patch(stacks, "MAX_KEPT", 1)
        self.shown(made, exceptions=[exception()])
        made._known["other"] = {}
        made._known.move_to_end("other", last=False)
        self.shown(made, exceptions=[exception()])
        made._known.pop(VERSION)
        self.shown(made, exceptions=[exception()])
        self.assertEqual(list(made._known), [VERSION])
