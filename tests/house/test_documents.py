"""Documentation that must say what is so."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import json5
import pytest

from tests.compatibility import document as compatibility
from tests.house.tree import ROOT, texts, tracked
from workerd_faas.settings import documents
from workerd_faas.settings.load import load
from workerd_faas.settings.table import SETTINGS, VARIABLES

REMEDY: Final = "run: .venv/bin/python -m workerd_faas.settings.documents"
LINK: Final = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
EXAMPLES: Final = sorted(path.parent for path in (ROOT / "examples").glob("*/wrangler.jsonc"))


def read(name: str) -> str:
    """
    A file of the checkout.
    """
    return (ROOT / name).read_text("utf-8")


def test_the_env_example_is_made_from_the_table() -> None:
    """config/env.example has every setting, with the meaning and default that the daemon has."""
    assert read("config/env.example") == documents.env_example(), REMEDY


def test_the_operators_table_is_made_from_the_table() -> None:
    """docs/operators.md has every setting, with the meaning and default that the daemon has."""
    said = read("docs/operators.md")
    assert said.count(documents.BEGIN) == said.count(documents.END) == 1
    assert said == documents.with_table(said), REMEDY


def test_the_compatibility_table_is_made_from_the_tests() -> None:
    """docs/compatibility.md says what the tests recorded and declare."""
    record = compatibility.recorded()
    assert compatibility.undeclared(record) == []
    assert compatibility.unseen(record) == []
    assert read("docs/compatibility.md") == compatibility.render(record), (
        "run: .venv/bin/python -m tests.compatibility"
    )


def test_the_env_example_is_right(tmp_path: Path) -> None:
    """The example is a configuration that loads once its two secrets are there."""
    content = documents.env_example()
    for setting in SETTINGS:
        if setting.secret:
            stem = setting.name.lower().replace("_", "-")
            file = tmp_path / stem
            file.write_text("q7Zr0c2Wq1vX9uYt3sKd8fLh5jGm4nBp6aEo")
            content = content.replace(f"/etc/workerd-faas/{stem}", str(file))
    (tmp_path / "env").write_text(content)
    settings = load({}, env_file=tmp_path / "env")
    assert settings.base_domain == "faas.example.com"


def test_documents_name_no_setting_that_is_not_there() -> None:
    """A name in capitals that ends like a setting's, in code quotes, is one that is read."""
    known = VARIABLES | {"WRKST_TOKEN", "WRKST_URL", "DATABASE_URL"}
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, content in texts()
        if path.suffix == ".md"
        for name in re.findall(
            r"`([A-Z]+_(?:[A-Z_]+_)?(?:URL|URI|SECRET|FILE|TIMEOUT|ALLOW|DENY|DIR|DOMAIN))\b",
            content,
        )
        if name not in known
    ]
    assert unknown == []


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link in a document has a file or directory at its end."""
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path, content in texts()
        if path.suffix == ".md"
        for target in LINK.findall(content)
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_documents_name_make_targets_that_are_there() -> None:
    """`make something` in a document is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = {
        target
        for path, content in texts()
        if path.suffix == ".md"
        for target in re.findall(r"(?:`|^|\$ )make ([a-z]+)(?=[`\s])", content, re.MULTILINE)
    }
    assert named
    assert named - targets == set()


def test_the_help_of_make_names_every_target() -> None:
    """`make help` has a line for each target that a person would call."""
    makefile = read("Makefile")
    (line,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    for target in set(line.split()) - {"help", "test-programs"}:
        assert f"make {target} " in makefile


def test_setup_leaves_nothing_for_the_daemon_to_write() -> None:
    """`make setup` makes bytecode and Twisted's cache of plugins, as the image does."""
    command = ["make", "--dry-run", "--always-make", "--directory", str(ROOT), "setup"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for text in (done.stdout, read("Dockerfile")):
        assert "-m compileall" in text
        assert re.search(r"bin/twistd .*--help >", text)


def test_there_are_examples() -> None:
    """The examples that the README promises are there."""
    names = {path.name for path in EXAMPLES}
    assert {"greeter", "hono", "wasm", "websocket-echo", "streaming", "postgres"} <= names


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_whole(example: Path) -> None:
    """Each example has a configuration, pinned dependencies, an entry point and a README."""
    config: dict[str, Any] = json5.loads((example / "wrangler.jsonc").read_text())
    package = json.loads((example / "package.json").read_text())
    installed = json.loads(read("package.json"))
    assert config["name"] == example.name
    assert (example / config["main"]).is_file()
    for name, version in package.get("dependencies", {}).items():
        assert version == {**installed["dependencies"], **installed["devDependencies"]}[name]
    readme = (example / "README.md").read_text()
    assert re.search(r"(wrkst|wrangler) deploy", readme)
    assert f"http://{example.name}.localhost:8080" in readme
    assert f"({example.name})" in read("examples/README.md")


def test_every_document_is_reachable() -> None:
    """Each document in docs/ is linked from the README or from another document."""
    linked = {
        (path.parent / target).resolve()
        for path, content in texts()
        if path.suffix == ".md"
        for target in LINK.findall(content)
        if "://" not in target
    }
    orphans = [p.name for p in tracked() if p.parent == ROOT / "docs" and p not in linked]
    assert orphans == []
