"""The catalog: every method, and what it refuses."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.limits import LARGE_CODE
from workerd_faas.domain.model import (
    Binding,
    BindingKind,
    Deployment,
    Split,
    Version,
    new_version_id,
)
from workerd_faas.store.catalog import SQLCatalog
from workerd_faas.store.database import SQLiteDatabase

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)


def version(function: str = "hello", account: str = "acc", **changes: Any) -> Version:
    """
    A version of a function.
    """
    made = Version(
        id=new_version_id(),
        function=function,
        account_id=account,
        number=0,
        created_at=NOW,
        author="dev@example.com",
        source="wrangler",
        bundle="0" * 64,
        size=7,
        main_module="index.js",
        compatibility_date="2026-01-01",
        compatibility_flags=("nodejs_compat",),
        bindings=(Binding(name="A", kind=BindingKind.JSON, value={"x": [1, None]}),),
        handlers=("fetch",),
        startup_ms=3,
        message="héllo",
        tag=None,
    )
    return attrs.evolve(made, **changes)


def deployment(*versions: Version, number: int = 1) -> Deployment:
    """
    A deployment that gives each version the same share.
    """
    share = 100 / len(versions)
    return Deployment(
        id=f"deployment-{number}",
        function=versions[0].function,
        created_at=NOW + timedelta(seconds=number),
        author="dev@example.com",
        source="api",
        splits=tuple(Split(version_id=v.id, percentage=share) for v in versions),
    )


class SQLCatalogTests(TestCase):
    """
    On a real database in a file.
    """

    timeout = 120

    async def made(self) -> SQLCatalog:
        """
        An empty catalog.
        """
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        database = SQLiteDatabase(reactor, path)
        await database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(database.stop()))
        return SQLCatalog(database)

    async def refused(self, call: Any) -> Kind:
        """
        The kind of problem that a call ends in.
        """
        with self.assertRaises(Problem) as caught:
            await call
        kind: Kind = caught.exception.kind
        return kind

    async def test_a_version_is_stored_whole(self) -> None:
        """
        Every field comes back as it was, with the next number of its function.
        """
        catalog = await self.made()
        first, second = version(), version(tag="v2")
        self.assertEqual(await catalog.add_version(first), attrs.evolve(first, number=1))
        self.assertEqual(await catalog.add_version(second), attrs.evolve(second, number=2))
        self.assertEqual(
            await catalog.versions("acc", "hello", 10),
            [attrs.evolve(second, number=2), attrs.evolve(first, number=1)],
        )
        self.assertEqual(len(await catalog.versions("acc", "hello", 1)), 1)
        found = await catalog.version("acc", "hello", first.id)
        self.assertEqual(found, attrs.evolve(first, number=1))
        self.assertEqual(await catalog.version_to_run("acc", first.id), found)
        self.assertEqual(await catalog.version_to_run(None, first.id), found)

    async def test_a_list_of_versions_is_not_long(self) -> None:
        """
        Long bindings are in it for the newest version only; each version by itself has its own.
        """
        catalog = await self.made()
        long = (Binding(name="B", kind=BindingKind.PLAIN_TEXT, value="x" * 20_000),)
        stored = [
            await catalog.add_version(version(bindings=bindings))
            for bindings in (long, version().bindings, long, long)
        ]
        listed = await catalog.versions("acc", "hello", 100)
        self.assertEqual([each.bindings for each in listed], [long, (), version().bindings, ()])
        for each in stored:
            found = await catalog.version("acc", "hello", each.id)
            self.assertEqual(found.bindings, each.bindings)

    async def test_a_name_belongs_to_its_first_account(self) -> None:
        """
        Another account cannot add to it, and sees it nowhere.
        """
        catalog = await self.made()
        mine = version()
        await catalog.add_version(mine, deployment=deployment(mine), alias="staging")
        theirs = version(account="other")
        self.assertIs(await self.refused(catalog.add_version(theirs)), Kind.NAME_TAKEN)
        for call in (
            catalog.function("other", "hello"),
            catalog.versions("other", "hello", 1),
            catalog.version("other", "hello", mine.id),
            catalog.deployments("other", "hello", 1),
            catalog.add_deployment("other", deployment(mine, number=2)),
            catalog.aliases("other", "hello"),
            catalog.set_alias("other", "hello", "a", mine.id, NOW),
            catalog.remove_alias("other", "hello", "staging"),
            catalog.remove_function("other", "hello"),
        ):
            self.assertIs(await self.refused(call), Kind.SCRIPT_NOT_FOUND)
        self.assertIs(
            await self.refused(catalog.version_to_run("other", mine.id)), Kind.VERSION_NOT_FOUND
        )
        self.assertEqual(await catalog.functions("other"), [])
        self.assertEqual(len(await catalog.versions("acc", "hello", 10)), 1)

    async def test_a_refused_upload_leaves_no_trace(self) -> None:
        """
        When storing the deployment fails, the version and the function are not there either.
        """
        catalog = await self.made()
        first = version()
        await catalog.add_version(first, deployment=deployment(first))
        second = version("second")
        clash = attrs.evolve(deployment(second), id=deployment(first).id)
        with self.assertRaises(Exception):  # noqa: B017 - the id is not unique
            await catalog.add_version(second, deployment=clash)
        self.assertIs(await self.refused(catalog.function("acc", "second")), Kind.SCRIPT_NOT_FOUND)

    async def test_the_newest_deployment_is_the_current_one(self) -> None:
        """
        Deployments are listed newest first, and routes follow the newest.
        """
        catalog = await self.made()
        one, two = version(), version()
        await catalog.add_version(one, deployment=deployment(one))
        await catalog.add_version(two)
        later = deployment(one, two, number=2)
        await catalog.add_deployment("acc", later)
        self.assertEqual(await catalog.deployments("acc", "hello", 10), [later, deployment(one)])
        ((function, current),) = await catalog.functions("acc")
        self.assertEqual(function.modified_at, later.created_at)
        self.assertEqual(current, later)
        (routes,) = await catalog.routes()
        self.assertEqual(routes.splits, later.splits)
        self.assertEqual(set(routes.versions), {one.id, two.id})

    async def test_functions_with_large_code_are_known(self) -> None:
        """
        Routes say of a function whether one of its versions has large code.
        """
        catalog = await self.made()
        await catalog.add_version(version("small"))
        await catalog.add_version(attrs.evolve(version("big"), size=LARGE_CODE))
        await catalog.add_version(version("big"))
        found = {routes.function: routes.large for routes in await catalog.routes()}
        self.assertEqual(found, {"small": False, "big": True})

    async def test_a_deployment_names_versions_of_its_function_only(self) -> None:
        """
        A version of another function, or of none, cannot be deployed.
        """
        catalog = await self.made()
        mine, other = version(), version("other")
        await catalog.add_version(mine)
        await catalog.add_version(other)
        wrong = attrs.evolve(deployment(other), function="hello")
        self.assertIs(
            await self.refused(catalog.add_deployment("acc", wrong)), Kind.VERSION_NOT_FOUND
        )
        self.assertEqual(await catalog.deployments("acc", "hello", 10), [])
        (first, second) = sorted(await catalog.routes(), key=lambda r: r.function)
        self.assertEqual((first.splits, second.splits), ((), ()))

    async def test_aliases_are_set_moved_and_removed(self) -> None:
        """
        An alias keeps its creation time when it moves, and is gone when removed.
        """
        catalog = await self.made()
        one, two = version(), version()
        await catalog.add_version(one, alias="staging")
        await catalog.add_version(two)
        later = NOW + timedelta(hours=1)
        moved = await catalog.set_alias("acc", "hello", "staging", two.id, later)
        self.assertEqual((moved.created_at, moved.modified_at), (NOW, later))
        self.assertEqual(await catalog.aliases("acc", "hello"), [moved])
        (routes,) = await catalog.routes()
        self.assertEqual(routes.aliases, {"staging": two.id})
        self.assertIs(
            await self.refused(catalog.set_alias("acc", "hello", "x", new_version_id(), NOW)),
            Kind.VERSION_NOT_FOUND,
        )
        await catalog.remove_alias("acc", "hello", "staging")
        self.assertIs(
            await self.refused(catalog.remove_alias("acc", "hello", "staging")),
            Kind.ALIAS_NOT_FOUND,
        )

    async def test_a_removed_function_is_gone_with_all_that_it_had(self) -> None:
        """
        Nothing of it is left, and its name is free for others.
        """
        catalog = await self.made()
        mine = version()
        await catalog.add_version(mine, deployment=deployment(mine), alias="staging")
        self.assertEqual(await catalog.bundles(), {mine.bundle})
        self.assertEqual(await catalog.remove_function("acc", "hello"), [mine.id])
        self.assertEqual(await catalog.routes(), [])
        self.assertEqual(await catalog.bundles(), frozenset())
        theirs = version(account="other")
        await catalog.add_version(theirs)
        self.assertEqual(await catalog.aliases("other", "hello"), [])
        self.assertEqual(await catalog.deployments("other", "hello", 9), [])
