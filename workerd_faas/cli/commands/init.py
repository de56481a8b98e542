"""`wrkst init`: a project that deploys."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from workerd_faas.cli.config.files import shown
from workerd_faas.cli.config.project import DEFAULT_DATE
from workerd_faas.cli.failure import Failure, usage
from workerd_faas.cli.terminal import note
from workerd_faas.domain.errors import Problem
from workerd_faas.domain.names import check_function_name, is_label

_JAVASCRIPT: Final = """\
export default {
\tasync fetch(request, env, ctx) {
\t\tconst url = new URL(request.url);
\t\treturn new Response(`${env.GREETING} from ${url.hostname}\\n`);
\t},
};
"""

_TYPESCRIPT: Final = """\
interface Env {
\tGREETING: string;
}

export default {
\tasync fetch(request: Request, env: Env): Promise<Response> {
\t\tconst url = new URL(request.url);
\t\treturn new Response(`${env.GREETING} from ${url.hostname}\\n`);
\t},
};
"""

_TSCONFIG: Final = """\
{
\t"compilerOptions": {
\t\t"target": "es2024",
\t\t"lib": ["es2024", "webworker"],
\t\t"module": "es2022",
\t\t"moduleResolution": "bundler",
\t\t"strict": true,
\t\t"noEmit": true,
\t\t"isolatedModules": true,
\t\t"skipLibCheck": true
\t},
\t"include": ["src"]
}
"""

_GITIGNORE: Final = "node_modules/\n.wrangler/\n.env\n.dev.vars\n"

TEMPLATES: Final[Mapping[str, Mapping[str, str]]] = {
    "typescript": {
        "src/index.ts": _TYPESCRIPT,
        "tsconfig.json": _TSCONFIG,
        ".gitignore": _GITIGNORE,
    },
    "javascript": {"src/index.js": _JAVASCRIPT, ".gitignore": _GITIGNORE},
}


def config_text(name: str, main: str) -> str:
    """
    A first wrangler.jsonc.
    """
    return f"""\
{{
\t// Where the function answers: <name>.<your domain>
\t"name": {json.dumps(name)},
\t"main": {json.dumps(main)},
\t"compatibility_date": "{DEFAULT_DATE}",
\t// What the function sees in `env`.
\t"vars": {{
\t\t"GREETING": "Hello"
\t}}
}}
"""


def name_from(directory: Path) -> str:
    """
    A function name made of a directory's name.
    """
    text = re.sub(r"[^a-z0-9]+", "-", directory.name.lower()).strip("-")[:63].strip("-")
    if not is_label(text):
        return "my-function"
    try:
        return check_function_name(text)
    except Problem:  # a reserved name
        return f"my-{text}"[:63].strip("-")


@click.command(
    epilog="""\b
Examples:
  wrkst init hello
  wrkst init --template javascript --name greeter .""",
)
@click.argument("directory", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--template",
    type=click.Choice(sorted(TEMPLATES)),
    default="typescript",
    show_default=True,
    help="What to begin with.",
)
@click.option("--name", metavar="NAME", help="Function; by default made of the directory's name.")
def init(directory: Path, template: str, name: str | None) -> None:
    """
    Make a new project in DIRECTORY (by default here) that can be deployed at once.

    Files that are there already are never touched.
    """
    directory = directory.absolute()
    try:
        chosen = name_from(directory) if name is None else check_function_name(name)
    except Problem as problem:
        raise usage(problem.message) from None
    files = dict(TEMPLATES[template])
    main = next(path for path in files if path.startswith("src/"))
    files = {"wrangler.jsonc": config_text(chosen, main), **files}
    configs = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
    present = [path for path in (*files, *configs) if (directory / path).exists()]
    present = [path for path in dict.fromkeys(present) if path != ".gitignore"]
    if present:
        raise Failure(
            f"{directory} has a project already: {', '.join(present)}.",
            hint="choose another directory: `wrkst init DIRECTORY`",
        )
    try:
        for path, text in files.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                with target.open("x", encoding="utf-8") as file:
                    file.write(text)
                note(f"  {path}")
    except OSError as error:
        raise Failure(f"Cannot write to {directory}: {error.strerror}.") from None
    note(f"Made {chosen} in {directory}.")
    step = "" if directory == Path.cwd() else f"cd {shlex.quote(shown(directory))} && "
    note(f"next: {step}wrkst deploy")
