"""Files that are right only together: locks, packages, unit, image."""

import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import hypothesis
import pytest

from tests.house.tree import ROOT, texts, tracked
from workerd_faas.settings.table import BY_NAME

LOCKS: Final = ("requirements/build.txt", "requirements/runtime.txt", "requirements/dev.txt")


def read(name: str) -> str:
    """
    A file of the checkout.
    """
    return (ROOT / name).read_text("utf-8")


def pinned(name: str) -> dict[str, str]:
    """
    The packages of a lock file, each with its whole entry.
    """
    entries = re.split(r"^(?=[a-z0-9])", read(name), flags=re.MULTILINE)
    return {
        entry.split("==")[0]: re.sub(r"\s*# .*", "", entry).strip()
        for entry in entries
        if "==" in entry
    }


@pytest.mark.parametrize("name", [*LOCKS, "package-lock.json"])
def test_a_lock_file_names_no_registry(name: str) -> None:
    """Where packages come from is the machine's decision: no lock file has an address in it."""
    content = read(name)
    if name.endswith(".json"):
        packages = json.loads(content)["packages"].values()
        assert not any("resolved" in package for package in packages)
    else:
        assert "://" not in content
        assert "--index-url" not in content
        assert "--find-links" not in content


@pytest.mark.parametrize("name", LOCKS)
def test_every_python_package_has_hashes(name: str) -> None:
    """Each pinned package can be installed with --require-hashes."""
    for entry in pinned(name).values():
        assert "--hash=sha256:" in entry


def test_every_npm_package_has_a_hash() -> None:
    """Each package of the npm lock has an integrity, and workerd is pinned exactly."""
    lock = json.loads(read("package-lock.json"))
    for path, package in lock["packages"].items():
        assert not path or "integrity" in package, path
    wanted = json.loads(read("package.json"))["dependencies"]["workerd"]
    assert re.fullmatch(r"[0-9.]+", wanted)
    assert lock["packages"]["node_modules/workerd"]["version"] == wanted


@pytest.mark.parametrize("name", ["requirements/build.txt", "requirements/runtime.txt"])
def test_smaller_locks_agree_with_the_whole(name: str) -> None:
    """What the image installs is what the tests ran with, to the hash."""
    whole = pinned("requirements/dev.txt")
    for package, entry in pinned(name).items():
        assert whole[package] == entry


def test_no_file_names_this_machine_or_a_registry() -> None:
    """Paths of one machine and names of package registries are in no file of the project."""
    forbidden = re.compile(
        "|".join(("registry" + r"\.npmjs", "pypi" + r"\.org", "/home/" + "[a-z]+/", "/ro" + "ot/"))
    )
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, content in texts()
        for match in forbidden.finditer(content)
    ]
    assert found == []


def test_every_test_says_what_it_holds() -> None:
    """Each test has a docstring: the sentence that would be false if it failed."""
    silent = []
    for path in tracked():
        if path.suffix != ".py" or not path.is_relative_to(ROOT / "tests"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.name.startswith("test_")
                and path.name.startswith("test_")
                and not ast.get_docstring(node)
            ):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert silent == []


def test_the_package_has_every_file_it_needs(tmp_path: Path) -> None:
    """The wheel has the plugin and every JavaScript, SQL and Python file of the checkout."""
    source = tmp_path / "source"
    for path in tracked():
        name = path.relative_to(ROOT)
        wanted = name.parts[0] in ("workerd_faas", "twisted") or str(name) in (
            "setup.cfg",
            "pyproject.toml",
            "README.md",
            "LICENSE",
        )
        if wanted and path.is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, source / name)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    needed = {
        str(path.relative_to(source))
        for directory in ("workerd_faas", "twisted")
        for path in (source / directory).rglob("*")
        if path.is_file() and path.suffix in (".py", ".js", ".sql", ".typed", ".html", ".css")
    }
    assert needed - inside == set()
    assert not any("__pycache__" in name or name.startswith("tests") for name in inside)


def test_the_version_is_one() -> None:
    """setup.cfg, the image and the changelog speak of the same version."""
    setup = configparser.ConfigParser()
    setup.read_string(read("setup.cfg"))
    assert f"ARG VERSION={setup['metadata']['version']}\n" in read("Dockerfile")
    assert "## [Unreleased]" in read("CHANGELOG.md")


def unit(name: str) -> configparser.ConfigParser:
    """
    A systemd unit; of repeated keys the last one.
    """
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(read(name))
    return parsed


def test_the_unit_waits_for_the_drain() -> None:
    """systemd kills the daemon later than the daemon itself gives up draining."""
    service = unit("config/workerd-faas.service")["Service"]
    drain = BY_NAME["DRAIN_TIMEOUT"]
    assert float(service["TimeoutStopSec"]) > drain.read(drain.default or "") + 10
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    assert "MemoryDenyWriteExecute" not in service


def test_the_unit_is_well_confined() -> None:
    """The exposure that systemd sees in the unit is below 2.0."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "config/workerd-faas.service"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    ).stdout
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) < 2.0


def test_the_image_is_confined() -> None:
    """The last stage has a numeric user, a health check, a stop signal and nothing that builds."""
    last = re.split(r"^FROM ", read("Dockerfile"), flags=re.MULTILINE)[-1]
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", last, re.MULTILINE)
    assert "ca-certificates" in last
    for tool in ("gcc", "build-essential", "python3-venv", "python3-dev", "npm", "pip install"):
        assert tool not in last


def test_the_container_waits_for_the_drain() -> None:
    """Docker kills the container later than the daemon itself gives up draining."""
    grace = re.search(r"stop_grace_period: (\d+)s", read("compose.yaml"))
    drain = BY_NAME["DRAIN_TIMEOUT"]
    assert grace is not None
    assert float(grace[1]) > drain.read(drain.default or "") + 10


def test_the_image_gets_every_file_it_copies() -> None:
    """What the Dockerfile copies from the checkout is let through by .dockerignore."""
    let_in = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", read("Dockerfile"), re.MULTILINE):
        for name in line.split():
            assert name in let_in or any(entry.startswith(f"{name}/") for entry in let_in), name


def test_no_property_fails_for_being_slow() -> None:
    """What hypothesis runs has no deadline: a test never depends on how busy the machine is."""
    assert hypothesis.settings().deadline is None
