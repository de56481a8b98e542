"""The options that `wrkst deploy` and `wrkst versions upload` have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from workerd_faas.cli.app import json_option, project_options
from workerd_faas.cli.bundle.choose import BUNDLERS

Command = Callable[..., Any]


@attrs.frozen(kw_only=True)
class Options:
    """
    What the command line says about an upload.
    """

    script: Path | None
    config: Path | None
    environment: str | None
    name: str | None
    message: str | None
    tag: str | None
    alias: str | None
    assets: Path | None
    var: tuple[str, ...]
    keep_vars: bool
    define: tuple[str, ...]
    compatibility_date: str | None
    compatibility_flag: tuple[str, ...]
    minify: bool | None
    no_bundle: bool | None
    bundler: str
    dry_run: bool
    outdir: Path | None
    as_json: bool


def _option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    return click.option(*names, **settings)


_OPTIONS = (
    click.argument("script", required=False, type=click.Path(path_type=Path)),
    project_options,
    _option("--name", metavar="NAME", help="Name of the function."),
    _option("--message", "-m", metavar="TEXT", help="What this version is about."),
    _option("--tag", metavar="TEXT", help="A mark to find the version by."),
    _option("--alias", metavar="NAME", help="Let this alias name the version."),
    _option(
        "--assets",
        type=click.Path(path_type=Path),
        help="Directory with the files of the site; goes before assets.directory.",
    ),
    _option("--var", multiple=True, metavar="KEY:VALUE", help="A variable in env; repeatable."),
    _option("--keep-vars", is_flag=True, help="Keep variables that are not in the configuration."),
    _option(
        "--define", multiple=True, metavar="KEY:VALUE", help="Replace KEY in the code; repeatable."
    ),
    _option("--compatibility-date", metavar="YYYY-MM-DD", help="Date of the runtime's behaviour."),
    _option("--compatibility-flag", multiple=True, metavar="FLAG", help="Repeatable."),
    _option("--minify/--no-minify", default=None, help="Make the code smaller."),
    _option("--no-bundle", is_flag=True, default=None, help="Send the files as they are."),
    _option(
        "--bundler",
        type=click.Choice(BUNDLERS),
        default="auto",
        show_default=True,
        help="auto: the project's own wrangler if its package.json names it, else esbuild.",
    ),
    _option("--dry-run", is_flag=True, help="Build and check, send nothing."),
    _option("--outdir", type=click.Path(path_type=Path), help="Write what is built there as well."),
    json_option,
)


def upload_options(command: Command) -> Command:
    """
    Everything that the two commands have in common.
    """
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
