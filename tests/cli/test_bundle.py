"""Bundling with the real esbuild, compared with the real Wrangler."""

import json
import os
from pathlib import Path

import attrs
import pytest

from tests.cli.support import ROOT, SCRIPT, write_files
from workerd_faas.cli.bundle.choose import build_worker
from workerd_faas.cli.bundle.programs import build_environment
from workerd_faas.cli.bundle.worker import Worker
from workerd_faas.cli.config.files import load_config
from workerd_faas.cli.config.project import read_project
from workerd_faas.cli.failure import Failure
from workerd_faas.domain.model import ModuleKind
from workerd_faas.wire.sourcemap import SourceMap

WASM = b"\0asm\x01\0\0\0"
Files = dict[str, str | bytes]


def config(main: str, **more: object) -> str:
    return json.dumps({"name": "p", "main": main, "compatibility_date": "2026-11-01", **more})


PROJECTS: dict[str, Files] = {
    "TypeScript with an npm package": {
        "wrangler.json": config("src/index.ts"),
        "src/index.ts": """
            import { Hono } from "hono";
            import { name } from "./lib/name";
            const app = new Hono<{ Bindings: { X: string } }>();
            app.get("/", (c) => c.text(name satisfies string));
            export default app;
        """,
        "src/lib/name.ts": "export const name: string = process.env.NODE_ENV!;",
    },
    "modules of every kind, some of them in folders": {
        "wrangler.json": config("src/index.mjs"),
        "src/index.mjs": """
            import text from "./texts/a.txt";
            import page from "./page.html";
            import add from "./wasm/add.wasm?module";
            import again from "./wasm/add.wasm";
            import { nested } from "./deep/nested.js";
            export default { fetch: () => new Response([text, page, add, again, nested].join()) };
        """,
        "src/deep/nested.js": """
            import sql from "../../sql/q.sql";
            import bytes from "./data.bin";
            import text from "../texts/a.txt";
            export const nested = [sql, bytes, text];
        """,
        "src/texts/a.txt": "text\n",
        "src/page.html": "<p>é</p>",
        "src/deep/data.bin": bytes(range(256)),
        "src/wasm/add.wasm": WASM,
        "sql/q.sql": "",
    },
    "modules from packages": {
        "wrangler.json": config("index.js"),
        "index.js": 'import t from "pack/data/t.txt"; export default { t };',
        "node_modules/pack/package.json": '{"name": "pack", "version": "1.0.0"}',
        "node_modules/pack/data/t.txt": "from a package",
    },
    "own rules": {
        "wrangler.json": config(
            "src/index.js",
            rules=[
                {"type": "Text", "globs": ["**/*.md", "**/*.graphql"], "fallthrough": True},
                {"type": "Data", "globs": ["**/*.png"]},
            ],
        ),
        "src/index.js": """
            import a from "./a.md"; import b from "./b.graphql"; import c from "./c.png";
            import d from "./d.txt";
            export default { a, b, c, d };
        """,
        "src/a.md": "# a",
        "src/b.graphql": "query { b }",
        "src/c.png": b"\x89PNG\0",
        "src/d.txt": "d",
    },
    "preserved names": {
        "wrangler.json": config("src/index.js", preserve_file_names=True),
        "src/index.js": 'import a from "./t/a.txt"; export default { a };',
        "src/t/a.txt": "a",
    },
    "additional modules": {
        "wrangler.json": config(
            "src/index.ts",
            find_additional_modules=True,
            rules=[{"type": "ESModule", "globs": ["lang/*.mjs"]}],
        ),
        "src/index.ts": """
            import de from "./lang/de.mjs";
            export default { de, load: (l: string) => import(`./lang/${l}.mjs`) };
        """,
        "src/lang/de.mjs": "export default 'Hallo';",
        "src/lang/fr.mjs": "export default 'Bonjour';",
        "src/extra.txt": "found by the default rules",
    },
    "no bundling": {
        "wrangler.json": config(
            "src/index.js",
            no_bundle=True,
            rules=[{"type": "ESModule", "globs": ["**/*.js"]}],
        ),
        "src/index.js": 'import x from "./sub/x.js"; export default x;',
        "src/sub/x.js": "export default {};\n//# sourceMappingURL=x.js.map\n",
        "src/sub/x.js.map": '{"version":3,"sources":["../../x.ts"],"mappings":"AAAA"}',
        "src/t.txt": "t",
    },
    "Node.js modules, by import and require": {
        "wrangler.json": config("index.js", compatibility_flags=["nodejs_compat"]),
        "index.js": """
            import { Buffer } from "node:buffer";
            import events from "events";
            import dep from "./dep.cjs";
            import { connect } from "cloudflare:sockets";
            export default { Buffer, events, dep, connect };
        """,
        "dep.cjs": 'module.exports = require("util").inspect(require("node:path"));',
    },
    "a PostgreSQL driver": {
        "wrangler.json": config("index.js"),
        "index.js": 'import pg from "pg"; export default { fetch: () => new pg.Client() };',
    },
    "JSX, define, alias, environment": {
        "wrangler.json": config(
            "index.jsx",
            define={"VERSION": '"1.2"'},
            alias={"react": "./h.js"},
            jsx_factory="h",
            minify=True,
            keep_names=False,
        ),
        "index.jsx": 'import h from "react"; export default { x: <p>{VERSION}</p> };',
        "h.js": "export default (...a) => a;",
    },
}


def build(directory: Path, bundler: str, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.chdir(directory)
    environ = {**os.environ, "PATH": f"{SCRIPT.parent}:/usr/bin:/bin", "HOME": str(directory)}
    project, _ = read_project(load_config(None, directory), None)
    return build_worker(project, bundler, environ, lambda text: None)


def make(directory: Path, files: Files) -> Path:
    directory.mkdir(exist_ok=True)
    write_files(directory, files)
    modules = directory / "node_modules"
    modules.mkdir(exist_ok=True)
    for package in ("hono", "wrangler", "@cloudflare", "esbuild", "@esbuild", "unenv"):
        (modules / package).symlink_to(ROOT / "node_modules" / package)
    for path in (ROOT / "node_modules").glob("p[go]*"):
        (modules / path.name).symlink_to(path)
    return directory


def essence(worker: Worker, *, with_main: bool) -> dict[str, object]:
    """
    What must be the same: names, kinds, contents; source maps by what they name.
    """
    return {
        module.name: (
            module.kind,
            module.content
            if module.kind is not ModuleKind.SOURCE_MAP
            and (with_main or module.name != worker.main.name)
            else None,
        )
        for module in worker.uploaded()
    }


@pytest.mark.parametrize("name", PROJECTS)
def test_same_modules_as_wrangler(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The upload has the modules, names, kinds and contents that Wrangler's own would have; only
    the wrappers of required Node.js modules are called otherwise.
    """
    directory = make(tmp_path / "p", PROJECTS[name])
    ours = build(directory, "esbuild", monkeypatch)
    theirs = build(directory, "wrangler", monkeypatch)
    assert ours.main.name == theirs.main.name
    with_main = name not in ("Node.js modules, by import and require", "a PostgreSQL driver")
    assert essence(ours, with_main=with_main) == essence(theirs, with_main=with_main)
    assert sources(ours) == sources(theirs)


def sources(worker: Worker) -> set[str]:
    """
    The user's own sources that the maps name.
    """
    found: set[str] = set()
    for content in worker.source_maps.values():
        found.update(
            source
            for source in json.loads(content)["sources"]
            if "node_modules" not in source and ":" not in source and "unenv" not in source
        )
    return found


def test_map_leads_to_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A position in the bundle is found in the source from which it comes.
    """
    directory = make(
        tmp_path / "p",
        {
            "wrangler.json": config("src/index.ts"),
            "src/index.ts": 'import { f } from "./f";\nexport default { f };\n',
            "src/f.ts": "interface A {}\n\nexport const f = (): A => {\n  throw new Error();\n};\n",
        },
    )
    worker = build(directory, "esbuild", monkeypatch)
    lines = worker.main.content.decode().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "throw" in text)
    column = lines[line - 1].index("throw") + 1
    found = SourceMap.parse(worker.source_maps["index.js"]).original(line, column)
    assert str(found) == "src/f.ts:4:3"


def test_maps_are_kept_back_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With upload_source_maps false no map is sent nor named, but positions can be mapped.
    """
    files: Files = {
        "wrangler.json": config("index.ts", upload_source_maps=False),
        "index.ts": "export default {};",
    }
    worker = build(make(tmp_path / "p", files), "esbuild", monkeypatch)
    assert [module.name for module in worker.uploaded()] == ["index.js"]
    assert b"sourceMappingURL" not in worker.main.content
    assert list(worker.source_maps) == ["index.js"]


def test_a_shadowed_rule_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Importing what only an ignored rule matches is refused with the reason.
    """
    files: Files = {
        "wrangler.json": config("i.js", rules=[{"type": "Text", "globs": ["**/*.md"]}]),
        "i.js": 'import a from "./a.txt"; export default { a };',
        "a.txt": "",
    }
    with pytest.raises(Failure) as caught:
        build(make(tmp_path / "p", files), "esbuild", monkeypatch)
    assert any("fallthrough" in line for line in caught.value.details)


def test_many_modules_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Hundreds of text imports, asked for in parallel, are all resolved.
    """
    count = 600
    files: Files = {"wrangler.json": config("i.js")}
    files["i.js"] = (
        "".join(f'import t{n} from "./t/{n}.txt";\n' for n in range(count))
        + f"export default [{','.join(f't{n}' for n in range(count))}];"
    )
    files |= {f"t/{n}.txt": f"text {n}" for n in range(count)}
    worker = build(make(tmp_path / "p", files), "esbuild", monkeypatch)
    assert len(worker.modules) == count


def test_node_import_without_the_flag_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A `node:` import that no flag allows builds, with a warning that names file and flag.
    """
    files: Files = {
        "wrangler.json": json.dumps(
            {"name": "p", "main": "a/i.js", "compatibility_date": "2024-01-01"}
        ),
        "a/i.js": 'import "node:fs"; export default {};',
    }
    worker = build(make(tmp_path / "p", files), "esbuild", monkeypatch)
    (warning,) = worker.warnings
    assert "node:fs" in warning and "a/i.js" in warning and "nodejs_compat" in warning


def test_links_out_of_the_project_are_not_picked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A pattern that matches a link to a file outside is refused; the file is named, not read.
    """
    (tmp_path / "secret.txt").write_text("secret")
    files: Files = {
        "wrangler.json": config("src/i.js", no_bundle=True),
        "src/i.js": "export default {};",
    }
    directory = make(tmp_path / "p", files)
    (directory / "src/t.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(Failure, match="outside of the project"):
        build(directory, "esbuild", monkeypatch)


def test_links_within_the_project_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A link to a file of the same project is a module like any other.
    """
    files: Files = {
        "wrangler.json": config("src/i.js", no_bundle=True),
        "src/i.js": "export default {};",
        "docs/t.txt": "t",
    }
    directory = make(tmp_path / "p", files)
    (directory / "src/t.txt").symlink_to("../docs/t.txt")
    worker = build(directory, "esbuild", monkeypatch)
    assert [(module.name, module.content) for module in worker.modules] == [("t.txt", b"t")]


def test_build_command_runs_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The project's build command makes the entry point; it does not see our token.
    """
    monkeypatch.setenv("WRKST_TOKEN", "hidden")
    files: Files = {
        "wrangler.json": config(
            "out/i.js",
            build={
                "command": "mkdir -p out && echo \"export default {a: '$WRKST_TOKEN'}\" > out/i.js"
            },
        ),
    }
    worker = build(make(tmp_path / "p", files), "esbuild", monkeypatch)
    assert b"hidden" not in worker.main.content
    assert b"export" in worker.main.content


def test_failing_build_command_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A build command that fails ends the deploy with its status.
    """
    files: Files = {"wrangler.json": config("i.js", build={"command": "exit 7"}), "i.js": ""}
    with pytest.raises(Failure, match="status 7"):
        build(make(tmp_path / "p", files), "esbuild", monkeypatch)


@pytest.mark.parametrize("bundler", ["esbuild", "wrangler"])
def test_build_command_finds_the_projects_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundler: str
) -> None:
    """
    The programs of installed packages, here and above, are on PATH, the nearest first; those of
    the user come after them.
    """
    files: Files = {
        "node_modules/.bin/make-it": "#!/bin/sh\necho 'export default {above: 1};' > i.js\n",
        "node_modules/.bin/and-then": "#!/bin/sh\nexit 9\n",
        "p/node_modules/.bin/and-then": "#!/bin/sh\nsed -i s/1/42/ i.js\n",
        "p/wrangler.json": config("i.js", build={"command": "make-it && and-then && sh -c :"}),
    }
    write_files(tmp_path, files)
    for path in tmp_path.rglob(".bin/*"):
        path.chmod(0o755)
    (tmp_path / "node_modules/wrangler").symlink_to(ROOT / "node_modules/wrangler")
    worker = build(tmp_path / "p", bundler, monkeypatch)
    assert b"42" in worker.main.content


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_programs_of_strangers_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A node_modules/.bin above the project that another user made is not on PATH.
    """
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    mine = tmp_path / "mine"
    for directory in (mine, tmp_path):
        (directory / "node_modules/.bin").mkdir(parents=True)
    os.chown(tmp_path / "node_modules/.bin", 54321, -1)
    path = build_environment(os.environ, mine)["PATH"]
    assert path == f"{mine}/node_modules/.bin:/usr/bin:/bin"


@pytest.mark.parametrize(("command", "hint"), [("no-such-program", "npm install"), ("false", None)])
def test_a_program_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, hint: str | None
) -> None:
    """
    Where the build command's program is not found the next step is `npm install`.
    """
    files: Files = {
        "wrangler.json": config("i.js", build={"command": command}),
        "i.js": "",
        "package.json": "{}",
    }
    with pytest.raises(Failure) as caught:
        build(make(tmp_path / "p", files), "esbuild", monkeypatch)
    assert (caught.value.hint is None) == (hint is None)
    assert hint is None or hint in str(caught.value.hint)


def test_auto_takes_wrangler_only_where_the_project_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An installed Wrangler is used when package.json depends on it, else esbuild.
    """
    files: Files = {"wrangler.json": config("i.js"), "i.js": "export default {};"}
    directory = make(tmp_path / "p", files)
    (directory / "package.json").write_text("{}")
    assert build(directory, "auto", monkeypatch).bundler.startswith("esbuild ")
    (directory / "package.json").write_text('{"devDependencies": {"wrangler": "^4"}}')
    assert build(directory, "auto", monkeypatch).bundler == "the project's wrangler"


def test_project_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A project that is reached through a link builds as it does by its real path.
    """
    files = PROJECTS["additional modules"]
    real = make(tmp_path / "real", files)
    (tmp_path / "link").symlink_to(real)
    direct = build(real, "esbuild", monkeypatch)
    through = build(tmp_path / "link", "esbuild", monkeypatch)
    assert through.uploaded() == direct.uploaded()


def test_names_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file whose name is not UTF-8 cannot be a module, and the message says so.
    """
    files: Files = {
        "wrangler.json": config("src/i.js", no_bundle=True),
        "src/i.js": "export default {};",
    }
    directory = make(tmp_path / "p", files)
    (directory / os.fsdecode(b"src/\xff.txt")).write_text("t")
    with pytest.raises(Failure, match="not UTF-8"):
        build(directory, "esbuild", monkeypatch)


def test_dynamic_and_repeated_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same file imported in several ways and places is one module.
    """
    files: Files = {
        "wrangler.json": config("i.js"),
        "i.js": """
            import a from "./t/a.txt";
            import { b } from "./sub/b.js";
            export default { a, b, c: () => import("./t/a.txt") };
        """,
        "sub/b.js": 'export { default as b } from "../t/a.txt";',
        "t/a.txt": "a",
    }
    worker = build(make(tmp_path / "p", files), "esbuild", monkeypatch)
    (module,) = worker.modules
    assert worker.main.content.count(module.name.encode()) == 3


def test_wrangler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    `--bundler wrangler` without one is refused; auto goes on with esbuild and says why.
    """
    files: Files = {
        "wrangler.json": config("i.js"),
        "i.js": "export default {};",
        "package.json": '{"devDependencies": {"wrangler": "4"}}',
    }
    write_files(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    project, _ = read_project(load_config(None, tmp_path), None)
    with pytest.raises(Failure, match="not installed"):
        build_worker(project, "wrangler", {}, lambda text: None)
    notes: list[str] = []
    worker = build_worker(project, "auto", {}, notes.append)
    assert worker.bundler.startswith("esbuild ")
    assert notes == ["wrangler is not installed here or above: building with esbuild"]


def test_wrangler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the project's Wrangler complains about is shown.
    """
    files: Files = {"wrangler.json": config("i.js"), "i.js": 'import "./gone"; export default {};'}
    with pytest.raises(Failure) as caught:
        build(make(tmp_path / "p", files), "wrangler", monkeypatch)
    assert any('Could not resolve "./gone"' in line for line in caught.value.details)


def test_wrangler_gets_our_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the command line put over the configuration holds with Wrangler too.
    """
    files: Files = {"wrangler.json": config("i.js", minify=True), "i.js": "export default { X };"}
    directory = make(tmp_path / "p", files)
    monkeypatch.chdir(directory)
    environ = {**os.environ, "PATH": f"{SCRIPT.parent}:/usr/bin:/bin", "HOME": str(directory)}
    project, _ = read_project(load_config(None, directory), None)
    project = attrs.evolve(project, minify=False, define={"X": '"value"'})
    worker = build_worker(project, "wrangler", environ, lambda text: None)
    assert b'"value"' in worker.main.content
    assert worker.main.content.count(b"\n") > 3
