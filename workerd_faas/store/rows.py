"""Rows of the catalog's tables to values and back."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from workerd_faas.domain.model import (
    Alias,
    Binding,
    BindingKind,
    Deployment,
    Function,
    Reach,
    Split,
    Version,
    timestamp,
)

FUNCTION: Final = "name, account_id, tag, created_at, modified_at, enabled, previews"

VERSION: Final = (
    "id, function, number, created_at, author, source, triggered_by, message, tag, bundle, size,"
    " main_module, compatibility_date, compatibility_flags, bindings, handlers, startup_ms,"
    " assets"
)

MAX_LISTED_BINDINGS: Final = 16 << 10
"""Characters. Longer ones are in a list for the newest version only: 100 of a MiB each would be."""

LISTED_VERSION: Final = VERSION.replace(
    " bindings,",
    f" CASE WHEN length(bindings) <= {MAX_LISTED_BINDINGS}"
    " OR number = (SELECT max(number) FROM versions AS newest WHERE newest.function ="
    " versions.function) THEN bindings ELSE '[]' END,",
)

DEPLOYMENT: Final = "id, function, created_at, author, source, triggered_by, message, splits"

ALIAS: Final = "name, version_id, created_at, modified_at"


def qualified(columns: str, table: str) -> str:
    """
    The columns with the table's name before each.
    """
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))


def function_row(function: Function) -> tuple[Any, ...]:
    """
    In the order of `FUNCTION`.
    """
    return (
        function.name,
        function.account_id,
        function.tag,
        timestamp(function.created_at),
        timestamp(function.modified_at),
        function.reach.enabled,
        function.reach.previews,
    )


def function_of(row: Sequence[Any]) -> Function:
    """
    The inverse of `function_row`.
    """
    name, account_id, tag, created_at, modified_at, enabled, previews = row
    return Function(
        name=name,
        account_id=account_id,
        tag=tag,
        created_at=_moment(created_at),
        modified_at=_moment(modified_at),
        reach=Reach(enabled=bool(enabled), previews=bool(previews)),
    )


def version_row(version: Version) -> tuple[Any, ...]:
    """
    In the order of `VERSION`.
    """
    bindings = [
        {"name": binding.name, "type": binding.kind.value, "value": binding.value}
        for binding in version.bindings
    ]
    return (
        version.id,
        version.function,
        version.number,
        timestamp(version.created_at),
        version.author,
        version.source,
        version.triggered_by,
        version.message,
        version.tag,
        version.bundle,
        version.size,
        version.main_module,
        version.compatibility_date,
        json.dumps(version.compatibility_flags),
        json.dumps(bindings),
        json.dumps(version.handlers),
        version.startup_ms,
        version.assets,
    )


def version_of(row: Sequence[Any], account_id: str) -> Version:
    """
    The inverse of `version_row`; whose function it is stands in another table.
    """
    (
        id_,
        function,
        number,
        created_at,
        author,
        source,
        triggered_by,
        message,
        tag,
        bundle,
        size,
        main_module,
        compatibility_date,
        compatibility_flags,
        bindings,
        handlers,
        startup_ms,
        assets,
    ) = row
    return Version(
        id=id_,
        function=function,
        account_id=account_id,
        number=number,
        created_at=_moment(created_at),
        author=author,
        source=source,
        triggered_by=triggered_by,
        message=message,
        tag=tag,
        bundle=bundle,
        size=size,
        main_module=main_module,
        compatibility_date=compatibility_date,
        compatibility_flags=tuple(json.loads(compatibility_flags)),
        bindings=tuple(
            Binding(name=each["name"], kind=BindingKind(each["type"]), value=each["value"])
            for each in json.loads(bindings)
        ),
        handlers=tuple(json.loads(handlers)),
        startup_ms=startup_ms,
        assets=assets,
    )


def deployment_row(deployment: Deployment) -> tuple[Any, ...]:
    """
    In the order of `DEPLOYMENT`.
    """
    return (
        deployment.id,
        deployment.function,
        timestamp(deployment.created_at),
        deployment.author,
        deployment.source,
        deployment.triggered_by,
        deployment.message,
        json.dumps([[split.version_id, split.percentage] for split in deployment.splits]),
    )


def deployment_of(row: Sequence[Any]) -> Deployment:
    """
    The inverse of `deployment_row`.
    """
    id_, function, created_at, author, source, triggered_by, message, splits = row
    return Deployment(
        id=id_,
        function=function,
        created_at=_moment(created_at),
        author=author,
        source=source,
        triggered_by=triggered_by,
        message=message,
        splits=splits_of(splits),
    )


def splits_of(text: str) -> tuple[Split, ...]:
    """
    The shares of a stored deployment.
    """
    return tuple(
        Split(version_id=version_id, percentage=percentage)
        for version_id, percentage in json.loads(text)
    )


def alias_of(row: Sequence[Any]) -> Alias:
    """
    An alias, from the columns of `ALIAS`.
    """
    name, version_id, created_at, modified_at = row
    return Alias(
        name=name,
        version_id=version_id,
        created_at=_moment(created_at),
        modified_at=_moment(modified_at),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
