"""Namespaces and databases as a configuration names them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.config.environment import select_environment
from workerd_faas.cli.config.files import load_config

MIGRATIONS: Final = "migrations"
MIGRATIONS_TABLE: Final = "d1_migrations"


@attrs.frozen(kw_only=True)
class Namespace:
    """
    A KV namespace that a function binds.
    """

    binding: str
    id: str | None


@attrs.frozen(kw_only=True)
class Database:
    """
    A D1 database that a function binds.

    Attributes:
        migrations: The directory of its migrations, absolute.
        pattern: Which files there are migrations, relative to that.
    """

    binding: str
    name: str | None
    id: str | None
    migrations: Path
    pattern: str = "*.sql"
    table: str = MIGRATIONS_TABLE


@attrs.frozen(kw_only=True)
class Storage:
    """
    All of it.
    """

    account_id: str | None = None
    namespaces: tuple[Namespace, ...] = ()
    databases: tuple[Database, ...] = ()

    def namespace(self, binding: str) -> Namespace | None:
        """
        The one with this name in `env`.
        """
        return next((each for each in self.namespaces if each.binding == binding), None)

    def database(self, name: str) -> Database | None:
        """
        The one of this name, or with this name in `env`.
        """
        named = next((each for each in self.databases if each.name == name), None)
        return named or next((each for each in self.databases if each.binding == name), None)


def read_storage(values: Mapping[str, Any], directory: Path) -> Storage:
    """
    What a configuration in `directory` says. What is wrong is told by those who read bindings.
    """
    return Storage(
        account_id=_text(values, "account_id"),
        namespaces=tuple(
            Namespace(binding=each["binding"], id=_text(each, "id"))
            for each in _named(values.get("kv_namespaces"))
        ),
        databases=tuple(_database(each, directory) for each in _named(values.get("d1_databases"))),
    )


def storage_here(config: Path | None, environment: str | None) -> Storage:
    """
    What the configuration says that the working directory is in; nothing where there is none.

    Raises:
        Failure: it cannot be read.
    """
    found = load_config(config, Path.cwd())
    selected = select_environment(found, environment)
    return read_storage(
        selected.values, found.path.parent if found.path is not None else Path.cwd()
    )


def _named(value: Any) -> Sequence[Mapping[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [each for each in entries if isinstance(each, dict) and _text(each, "binding")]


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) and value else None


def _database(entry: Mapping[str, Any], directory: Path) -> Database:
    folder = _text(entry, "migrations_dir") or MIGRATIONS
    pattern = (_text(entry, "migrations_pattern") or "").removeprefix("./")
    return Database(
        binding=entry["binding"],
        name=_text(entry, "database_name"),
        id=_text(entry, "database_id"),
        migrations=directory / folder,
        pattern=pattern.removeprefix(folder.removeprefix("./").rstrip("/") + "/") or "*.sql",
        table=_text(entry, "migrations_table") or MIGRATIONS_TABLE,
    )
