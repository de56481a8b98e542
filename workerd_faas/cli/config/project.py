"""A project as a command needs it: the configuration of one environment, checked and complete."""

import datetime
import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from workerd_faas.cli.config.assets import Assets, read_assets
from workerd_faas.cli.config.bindings import bindings_of, variables
from workerd_faas.cli.config.consumers import QueueConsumer, read_consumers
from workerd_faas.cli.config.environment import select_environment
from workerd_faas.cli.config.files import ConfigFile
from workerd_faas.cli.config.keys import PASSED_ON
from workerd_faas.cli.config.reader import Reader
from workerd_faas.cli.config.rules import RULE_KINDS, Rule, glob_pattern
from workerd_faas.cli.config.storage import Storage, read_storage
from workerd_faas.cli.failure import Failure, project_failure
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.schedules import read_crons

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

DEFAULT_DATE: Final = "2026-11-17"
"""The compatibility date that we propose: that of the runtime which this release is made for."""


@attrs.frozen(kw_only=True)
class Build:
    """
    A command that makes the sources, run before they are bundled.
    """

    command: str
    cwd: Path


@attrs.frozen(kw_only=True)
class Project:
    """
    What to build and how to deploy it.

    Attributes:
        root: Directory of the user's configuration file; sources are named relative to it.
        config_path: The configuration file that was read.
        main: The entry point, absolute.
        tail_consumers: Functions that receive this one's tail events.
        crons: When it runs by the clock; None: the configuration does not say, which changes
            nothing.
        enabled: `workers_dev`: whether requests from outside reach it at its host; None: the
            configuration does not say, which changes nothing.
        previews: `preview_urls`: the same of the hosts of versions and aliases; None: as `enabled`.
        consumers: Of queues; None: the configuration does not speak of queues.
        settings: Further keys of the upload's metadata, as they stand.
        module_root: `base_dir`, absolute: where additional modules are looked for.
        remarks: What is worth telling when it is deployed: keys that make no difference, and such.
    """

    root: Path
    config_path: Path | None = None
    environment: str | None = None
    name: str | None = None
    main: Path | None = None
    account_id: str | None = None
    compatibility_date: str | None = None
    compatibility_flags: tuple[str, ...] = ()
    bindings: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)
    tail_consumers: tuple[str, ...] = ()
    crons: tuple[str, ...] | None = None
    enabled: bool | None = None
    previews: bool | None = None
    consumers: tuple[QueueConsumer, ...] | None = None
    storage: Storage = attrs.Factory(Storage)
    settings: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    assets: Assets | None = None
    keep_vars: bool = False
    module_root: Path | None = None
    rules: tuple[Rule, ...] = ()
    find_additional_modules: bool | None = None
    no_bundle: bool = False
    preserve_file_names: bool = False
    define: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    alias: Mapping[str, str] = attrs.field(factory=dict)
    minify: bool = False
    keep_names: bool = True
    upload_source_maps: bool | None = None
    tsconfig: Path | None = None
    jsx_factory: str = "React.createElement"
    jsx_fragment: str = "React.Fragment"
    build: Build | None = None
    remarks: tuple[str, ...] = ()


Check = Callable[[Project], Mapping[str, str]]
"""What more a command needs: keys, and what is wrong with them."""


def read_project(
    config: ConfigFile, environment: str | None, check: Check | None = None
) -> tuple[Project, list[str]]:
    """
    The project of a configuration in one environment, and warnings about it.

    Raises:
        Failure: something in it is wrong; all of it is told at once, each with its key.
    """
    selected = select_environment(config, environment)
    problems = list(selected.problems)
    remarks = list(selected.remarks)
    reader = Reader(selected.values, selected.path_of, problems, remarks)
    directory = config.path.parent if config.path is not None else Path.cwd()
    root = config.user_path.parent if config.user_path is not None else directory

    main = reader.text("main")
    base_dir = reader.text("base_dir")
    tsconfig = reader.text("tsconfig")
    project = Project(
        root=root,
        config_path=config.path,
        environment=selected.environment,
        name=reader.text("name"),
        main=_inside(directory, main),
        account_id=reader.text("account_id") or None,
        compatibility_date=_date(reader),
        compatibility_flags=reader.texts("compatibility_flags"),
        bindings=(
            *variables(reader.mapping("vars"), reader.wrong),
            *bindings_of(reader),
        ),
        tail_consumers=_tail_consumers(reader),
        crons=_crons(reader),
        enabled=reader.flag("workers_dev"),
        previews=reader.flag("preview_urls"),
        consumers=read_consumers(reader),
        storage=read_storage(selected.values, directory),
        settings=_settings(reader),
        assets=read_assets(reader, directory),
        keep_vars=reader.flag("keep_vars") or False,
        module_root=_inside(directory, base_dir),
        rules=_rules(reader),
        find_additional_modules=reader.flag("find_additional_modules"),
        no_bundle=reader.flag("no_bundle") or False,
        preserve_file_names=reader.flag("preserve_file_names") or False,
        define=reader.text_mapping("define"),
        alias=reader.text_mapping("alias"),
        minify=reader.flag("minify") or False,
        keep_names=reader.flag("keep_names") is not False,
        upload_source_maps=reader.flag("upload_source_maps"),
        tsconfig=_inside(directory, tsconfig),
        jsx_factory=reader.text("jsx_factory") or "React.createElement",
        jsx_fragment=reader.text("jsx_fragment") or "React.Fragment",
        build=_build(reader, directory),
    )
    for key, what in (check(project) if check is not None else {}).items():
        if not any(problem.startswith(f"{selected.path_of(key)} ") for problem in problems):
            reader.wrong(key, what)
    if problems:
        raise _not_valid(config, problems)
    return attrs.evolve(project, remarks=tuple(remarks)), list(selected.warnings)


def _not_valid(config: ConfigFile, problems: Sequence[str]) -> Failure:
    if config.path is not None:
        return project_failure(f"{config.label} is not valid:", details=problems)
    return project_failure(
        "There is no wrangler.jsonc, wrangler.json or wrangler.toml here or above, so:",
        details=problems,
        hint="go to your project, make one with `wrkst init`, or say everything: "
        f"`wrkst deploy src/index.ts --name hello --compatibility-date {DEFAULT_DATE}`",
    )


def _inside(directory: Path, relative: str | None) -> Path | None:
    # normpath, not resolve: links stay as the user wrote them.
    return None if relative is None else Path(os.path.normpath(directory / relative))


def _date(reader: Reader) -> str | None:
    date = reader.text("compatibility_date")
    if date is None:
        return None
    try:
        if not _DATE.fullmatch(date):
            raise ValueError(date)
        datetime.date.fromisoformat(date)
    except ValueError:
        reader.wrong("compatibility_date", f"should be a date such as {DEFAULT_DATE}")
    return date


def _settings(reader: Reader) -> dict[str, Any]:
    """
    What is sent as it stands; empty settings ask for nothing.
    """
    unsafe = reader.below("unsafe", reader.mapping("unsafe"))
    unsafe.unexpected({"bindings", "capnp", "metadata"})
    if unsafe.values.get("capnp"):
        unsafe.wrong("capnp", "is not supported")
    sent = {key: reader.values[key] for key in PASSED_ON if reader.values.get(key)}
    return {**sent, **unsafe.mapping("metadata")}


def _tail_consumers(reader: Reader) -> tuple[str, ...]:
    names = []
    for inner in reader.entries("tail_consumers"):
        inner.unexpected({"service", "environment"})
        if inner.values.get("environment"):
            inner.without_effect("environment", "an environment is a function of its own")
        name = inner.text("service")
        if not name:
            inner.wrong("service", "should be the name of a function")
        else:
            names.append(name)
    return tuple(names)


def _crons(reader: Reader) -> tuple[str, ...] | None:
    triggers = reader.mapping("triggers")
    inner = reader.below("triggers", triggers)
    inner.unexpected({"crons", "events"})
    if triggers.get("events"):
        inner.without_effect("events", "no other product calls functions")
    if triggers.get("crons") is None:
        return None
    crons = inner.texts("crons")
    try:
        read_crons(crons)
    except Problem as problem:
        inner.wrong("crons", f"is not valid: {problem.message}")
    return crons


def _rules(reader: Reader) -> tuple[Rule, ...]:
    rules = []
    for inner in reader.entries("rules"):
        inner.unexpected({"type", "globs", "fallthrough"})
        type_, globs = inner.text("type"), inner.texts("globs")
        if type_ is None or type_ not in RULE_KINDS:
            inner.wrong("type", f"should be one of {', '.join(RULE_KINDS)}, not {type_!r}")
            continue
        if not globs:
            inner.wrong("globs", "should be a list of patterns")
        for glob in globs:
            try:
                re.compile(glob_pattern(glob, globstar=True))
            except re.error:
                inner.wrong("globs", f"has a pattern that cannot be used: {glob!r}")
        rules.append(Rule(type_, globs, inner.flag("fallthrough")))
    return tuple(rules)


def _build(reader: Reader, directory: Path) -> Build | None:
    inner = reader.below("build", reader.mapping("build"))
    inner.unexpected({"command", "cwd", "watch_dir"})
    command, cwd = inner.text("command"), inner.text("cwd")
    if not command:
        return None
    return Build(command=command, cwd=_inside(directory, cwd or ".") or directory)
