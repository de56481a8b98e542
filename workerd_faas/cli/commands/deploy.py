"""`wrkst deploy` and `wrkst versions upload`: build, check, send, show."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from workerd_faas.cli.app import App, pass_app
from workerd_faas.cli.assets.site import collect_site
from workerd_faas.cli.bundle.choose import build_worker, run_build_command
from workerd_faas.cli.bundle.worker import Worker
from workerd_faas.cli.client.api import SCRIPT_INVALID, ApiError
from workerd_faas.cli.commands.deploy_triggers import Triggers
from workerd_faas.cli.commands.resources import provisioned
from workerd_faas.cli.commands.upload_options import Options, upload_options
from workerd_faas.cli.commands.upload_report import (
    built,
    send,
    send_site,
    show_build,
    show_result,
    sizes_of,
)
from workerd_faas.cli.config.assets import Assets
from workerd_faas.cli.config.bindings import assets_binding, variables
from workerd_faas.cli.config.files import shown
from workerd_faas.cli.config.project import DEFAULT_DATE, Project
from workerd_faas.cli.failure import Failure, project_failure, usage
from workerd_faas.cli.terminal import note, show_json, warn, working
from workerd_faas.cli.upload import Annotations, upload_form
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.names import check_alias, check_function_name
from workerd_faas.wire.sourcemap import map_positions


@click.command(
    "deploy",
    epilog="""\b
Examples:
  wrkst deploy
  wrkst deploy src/index.ts --name hello --message "First version"
  wrkst deploy --env staging --var GREETING:Hallo
  wrkst deploy --dry-run --outdir dist""",
)
@upload_options
@pass_app
def deploy(app: App, /, **options: Any) -> None:
    """
    Build the project and put it in service: all traffic goes to the new version.

    Reads wrangler.jsonc, wrangler.json or wrangler.toml. The version that served before stays
    and keeps its own URL; `wrkst rollback` brings it back.
    """
    run_upload(app, Options(**options), deploys=True)


@click.command(
    "upload",
    epilog="""\b
Examples:
  wrkst versions upload --alias preview
  wrkst versions upload --tag v1.4.0 --message "Try the new parser" """,
)
@upload_options
@pass_app
def upload(app: App, /, **options: Any) -> None:
    """
    Build the project and upload a version, which serves on its own URL only.

    `wrkst versions deploy` puts it in service.
    """
    run_upload(app, Options(**options), deploys=False)


def run_upload(app: App, options: Options, *, deploys: bool) -> None:
    """
    Build, send and show.

    Raises:
        Failure: something is wrong; nothing has changed on the server then, unless it says so.
    """
    project = app.project(
        options.config,
        options.environment,
        lambda configured: _lacks(_with_options(configured, options), options),
    )
    for remark in project.remarks:
        warn(f"{shown(project.config_path)}: {remark}")
    project = _with_options(project, options)
    name, date = _given(project.name), _given(project.compatibility_date)
    alias = None if options.alias is None else _checked(check_alias, options.alias)
    if not options.dry_run:
        # Who is not logged in, or has set no server, need not wait for a build to be told.
        app.api.authorization.token()
    with working("building"):
        worker = _build(project, options, app)
        # After the build command, which may be what makes the site.
        site = None if project.assets is None else collect_site(project.assets)
        sizes = sizes_of(worker)
    if worker is not None:
        for warning in worker.warnings:
            warn(warning)
        if options.outdir is not None:
            _write(worker, options.outdir)
    if not options.as_json:
        show_build(worker, site, sizes)
    if options.dry_run:
        if options.as_json:
            show_json(built(name, worker, site, sizes))
        else:
            note("--dry-run: nothing was sent")
        return
    scripts = app.scripts(project.account_id)
    triggers = Triggers.of(project, scripts, name) if deploys else None
    form = upload_form(
        worker,
        compatibility_date=date,
        compatibility_flags=project.compatibility_flags,
        bindings=provisioned(scripts, name, project.bindings, project.storage),
        keep_variables=project.keep_vars,
        annotations=Annotations(message=options.message, tag=options.tag, alias=alias),
        tail_consumers=project.tail_consumers,
        settings=project.settings,
        assets=None if site is None else send_site(scripts, name, site),
    )
    try:
        result = send(scripts.deploy if deploys else scripts.upload, name, form)
    except ApiError as error:
        if error.code == SCRIPT_INVALID and worker is not None:
            raise _in_users_files(error, worker) from None
        raise
    set_ = None if triggers is None else triggers.set()
    show_result(
        app.settings.require_url(),
        name,
        result,
        sizes,
        deploys=deploys,
        as_json=options.as_json,
        triggers=set_,
    )


def _build(project: Project, options: Options, app: App) -> Worker | None:
    """
    The Worker; none for a site without code, whose build command is run all the same.
    """
    if project.main is None and project.assets is not None:
        run_build_command(project, app.environ, note)
        return None
    return build_worker(project, options.bundler, app.environ, note)


def _with_options(project: Project, options: Options) -> Project:
    """
    The configuration with what the command line puts over it.
    """
    problems: list[str] = []
    given = tuple(
        variables(
            dict(_pair(text, "--var") for text in options.var),
            lambda key, what: problems.append(f"{key} {what}"),
        )
    )
    assets = project.assets
    if options.assets is not None:
        directory = Path.cwd() / options.assets
        assets = attrs.evolve(assets or Assets(directory=directory), directory=directory)
    site = () if assets is None or not assets.binding else (assets_binding(assets.binding),)
    names = {binding["name"] for binding in (*given, *site)}
    script = options.script
    no_bundle = project.no_bundle if options.no_bundle is None else options.no_bundle
    return attrs.evolve(
        project,
        name=options.name or project.name,
        main=project.main if script is None else Path.cwd() / script,
        bindings=(
            *(each for each in project.bindings if each["name"] not in names),
            *given,
            *site,
        ),
        assets=assets,
        keep_vars=options.keep_vars or project.keep_vars,
        define={**project.define, **dict(_pair(text, "--define") for text in options.define)},
        compatibility_date=options.compatibility_date or project.compatibility_date,
        compatibility_flags=options.compatibility_flag or project.compatibility_flags,
        minify=project.minify if options.minify is None else options.minify,
        no_bundle=no_bundle,
    )


def _pair(text: str, option: str) -> tuple[str, str]:
    key, separator, value = text.partition(":")
    if not separator or not key:
        raise usage(f"{option} {text!r}: write it as KEY:VALUE.")
    return key, value


def _checked(check: Callable[[str], str], name: str) -> str:
    try:
        return check(name)
    except Problem as problem:
        raise usage(problem.message) from None


def _given(value: str | None) -> str:
    assert value, "the check of the project lets nothing else pass"
    return value


def _lacks(project: Project, options: Options) -> dict[str, str]:
    """
    What keeps a project from being deployed: keys of the configuration, and what is wrong.

    Raises:
        Failure: it is on the command line.
    """
    lacks = {}
    if not project.name:
        lacks["name"] = 'is missing: "name": "my-function", or --name NAME'
    elif options.name:
        _checked(check_function_name, project.name)
    else:
        try:
            check_function_name(project.name)
        except Problem as problem:
            lacks["name"] = f"is not valid: {problem.message}"
    if project.main is None:
        if project.assets is None:
            lacks["main"] = 'is missing: "main": "src/index.ts", or `wrkst deploy src/index.ts`'
    elif project.build is None and not project.main.is_file():
        if options.script is not None:
            raise usage(f"There is no file {options.script} to deploy.")
        lacks["main"] = f"names a file that is not there: {shown(project.main)}"
    if not project.compatibility_date:
        lacks["compatibility_date"] = (
            f'is missing: "compatibility_date": "{DEFAULT_DATE}", or '
            f"--compatibility-date {DEFAULT_DATE}"
        )
    elif options.compatibility_date:
        try:
            datetime.date.fromisoformat(options.compatibility_date)
        except ValueError:
            raise usage(
                f"{options.compatibility_date!r} is no date such as {DEFAULT_DATE}."
            ) from None
    return lacks


def _write(worker: Worker, outdir: Path) -> None:
    """
    Put the modules into a directory, by their names.
    """
    root = outdir.resolve()
    try:
        for module in worker.uploaded():
            path = (root / module.name).resolve()
            if not path.is_relative_to(root):
                raise project_failure(f"The module name {module.name!r} leads out of {outdir}.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(module.content)
    except OSError as error:
        raise Failure(f"Cannot write to {outdir}: {error.strerror}.") from None


def _in_users_files(error: ApiError, worker: Worker) -> Failure:
    """
    The server's complaint about the code, with positions in the user's own files.
    """
    lines = map_positions("\n".join((error.message, *error.details)), worker.source_maps)
    first, *rest = lines.splitlines()
    return Failure(
        f"The server does not accept the code: {first}",
        details=rest,
        hint="correct it and deploy again; nothing has changed on the server",
    )
