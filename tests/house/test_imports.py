"""Imports point towards `domain`: the table of docs/architecture.md, held."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.house.tree import ROOT

PACKAGE: Final = ROOT / "workerd_faas"

ALLOWED: Final[dict[str, set[str]]] = {
    "domain": set(),
    "wire": {"domain"},
    "usecases": {"domain", "wire"},
    "ingress": {"domain", "wire", "usecases.ports"},
    "api": {"domain", "wire", "usecases"},
    "store": {
        "domain",
        "wire",
        "usecases.ports",
        "usecases.analytics.ports",
        "usecases.hyperdrive.ports",
        "usecases.identity.ports",
        "usecases.policies.ports",
        "usecases.schedules.ports",
        "usecases.storage.ports",
        "usecases.ties.ports",
        "usecases.unversioned.ports",
    },
    "runtime": {
        "domain",
        "wire",
        "usecases.ports",
        "usecases.hyperdrive.ports",
        "usecases.policies.ports",
        "usecases.restarts.ports",
        "usecases.schedules.ports",
        "usecases.standings.ports",
        "usecases.storage.ports",
    },
    "oidc": {"domain", "wire", "usecases.ports", "usecases.identity.ports"},
    "cli": {"domain", "wire"},
    "settings": {"domain"},
    "welcome": {"domain", "wire", "usecases"},
    "lifecycle": {"domain", "usecases.ports"},
    "directories": {"lifecycle", "store", "wire"},
    "operator_socket": {"domain", "usecases.storage", "wire"},
    "handover": {
        "directories",
        "domain",
        "ingress",
        "lifecycle",
        "runtime",
        "usecases.ports",
        "usecases.storage.queues",
    },
    "limits": {"domain", "settings", "ingress", "runtime", "usecases"},
    "logs": set(),
    "reactor": set(),
    "reload": {"domain", "limits", "runtime", "settings"},
    "tap": {"assembly", "reactor", "settings"},
}
"""What a room may import of ours; `assembly`, its `stages` and `operator` may import anything."""

PURE: Final = ("domain", "wire", "settings")
"""Rooms that know no Twisted."""


def room(path: Path) -> str:
    """
    The first part of a module's name below `workerd_faas`.
    """
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """
    Every module or name that a file imports, with its line.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def modules() -> list[Path]:
    """
    Every module of ours.
    """
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_room_imports_only_what_it_may(name: str) -> None:
    """No module of a room imports one of ours that the table does not allow."""
    strangers = []
    for path in modules():
        if room(path) != name:
            continue
        for line, full in imported(path):
            if not full.startswith("workerd_faas."):
                continue
            target = full.removeprefix("workerd_faas.")
            if not any(f"{target}.".startswith(f"{one}.") for one in {*ALLOWED[name], name}):
                strangers.append(f"{path.relative_to(ROOT)}:{line} imports {full}")
    assert strangers == []


def test_every_room_is_in_the_table() -> None:
    """A new package or module of the first level has to say what it may import."""
    rooms = {room(path) for path in modules()} - {"__init__"}
    assert rooms - ALLOWED.keys() - {"assembly", "stages", "operator", "testing"} == set()


def test_nothing_but_its_callers_knows_the_assembly() -> None:
    """Only `tap` imports what knows every class."""
    callers = {
        room(path)
        for path in modules()
        for _, full in imported(path)
        if full.startswith("workerd_faas.assembly")
    }
    assert callers - {"assembly"} == {"tap"}


@pytest.mark.parametrize("name", PURE)
def test_pure_rooms_know_no_twisted(name: str) -> None:
    """Rules, documents and settings can be used without a reactor."""
    impure = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        if room(path) == name
        for line, full in imported(path)
        if full.split(".")[0] in ("twisted", "klein", "treq", "uvloop", "asyncio")
    ]
    assert impure == []


def test_the_plugin_is_a_signpost() -> None:
    """twistd imports the plugin of every program it lists, so that ours imports nothing of ours."""
    plugin = ROOT / "twisted/plugins/workerd_faas_plugin.py"
    assert [full for _, full in imported(plugin)] == ["twisted.application.service.ServiceMaker"]


def test_the_api_asks_who_it_is_in_one_place() -> None:
    """A route that authenticates by itself would not hold API tokens to their scopes."""
    askers = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if room(path) == "api" and ".authenticate(" in path.read_text("utf-8")
    }
    assert askers == {"api/access.py", "api/request.py"}
