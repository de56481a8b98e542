"""What a function stores, to be deleted with it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from workerd_faas.cli.client.scripts import Record, ScriptsApi
from workerd_faas.cli.failure import Failure

_PATHS: Final = {
    "kv": ("KV namespace", ("storage", "kv", "namespaces")),
    "d1": ("D1 database", ("d1", "database")),
    "queue": ("queue", ("queues",)),
}
"""By type: what people call it, and where it is."""


@attrs.frozen
class FunctionStorage:
    """
    Attributes:
        own: What no other function uses.
        shared: What others use too: it is never deleted here.
    """

    scripts: ScriptsApi
    own: Sequence[Record]
    shared: Sequence[Record]

    @classmethod
    def of(cls, scripts: ScriptsApi, name: str) -> "FunctionStorage":
        """
        Ask the server.
        """
        at = ("accounts", scripts.account.id, "workers", "scripts", name, "storage")
        found = scripts.api.get(*at)
        return cls(
            scripts,
            [each for each in found if not each.get("also_used_by")],
            [each for each in found if each.get("also_used_by")],
        )

    @property
    def told(self) -> Iterator[str]:
        """
        What would happen, a line each.
        """
        for each in self.own:
            yield f"deletes the {_called(each)}"
        for each in self.shared:
            others = ", ".join(map(str, each["also_used_by"]))
            yield f"keeps the {_called(each)}, which {others} uses too"

    def delete(self) -> None:
        """
        Delete what is the function's own.

        Raises:
            Failure: something could not be deleted; the rest was.
        """
        left = []
        for each in self.own:
            _, path = _PATHS[each["type"]]
            try:
                self.scripts.api.call(
                    "DELETE", "accounts", self.scripts.account.id, *path, str(each["id"])
                )
            except Failure as failure:
                left.append(f"{_called(each)}: {failure.message}")
        if left:
            raise Failure("The function is deleted, but not all that it stored.", details=left)


def _called(entry: Record) -> Any:
    return f"{_PATHS[entry['type']][0]} {entry['name']}"
