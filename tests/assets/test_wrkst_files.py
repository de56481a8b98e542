"""Which files wrkst takes for a site, and what it says of them."""

from pathlib import Path

import pytest

from workerd_faas.cli.assets.ignore import parse_ignore
from workerd_faas.cli.assets.site import collect_site
from workerd_faas.cli.assets.types import content_type_of
from workerd_faas.cli.config.assets import Assets
from workerd_faas.cli.failure import Failure
from workerd_faas.domain.limits import AssetLimits


def write(directory: Path, files: dict[str, str]) -> Assets:
    """
    A directory of assets with these files.
    """
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Assets(directory=directory, config={"html_handling": "none"})


def test_files_have_paths_sizes_and_types(tmp_path: Path) -> None:
    """
    Every file is in the manifest under its path; equal content of one type has one hash.
    """
    site = collect_site(
        write(tmp_path, {"index.html": "x", "sub dir/ü.css": "a", "b.css": "a", "c.js": "a"})
    )
    assert sorted(site.files) == ["/b.css", "/c.js", "/index.html", "/sub dir/ü.css"]
    assert site.files["/b.css"].hash == site.files["/sub dir/ü.css"].hash
    assert site.files["/b.css"].hash != site.files["/c.js"].hash
    assert all(len(file.hash) == 32 for file in site.files.values())
    assert site.manifest["/index.html"]["size"] == 1
    assert site.size == 3


def test_rules_are_sent_and_are_no_files(tmp_path: Path) -> None:
    """
    `_headers` and `_redirects` go into the configuration as text, beside what was set.
    """
    site = collect_site(write(tmp_path, {"_headers": "/a\n b: c", "_redirects": "/x /y", "a": ""}))
    assert list(site.files) == ["/a"]
    assert site.config == {
        "html_handling": "none",
        "_headers": "/a\n b: c",
        "_redirects": "/x /y",
    }


def test_what_is_ignored_is_not_taken(tmp_path: Path) -> None:
    """
    Files and directories that .assetsignore names are left out, and so is the file itself.
    """
    files = {"keep.txt": "", "drop.map": "", "node_modules/x/y.js": "", "a/b/c.map": "", "a/d": ""}
    site = collect_site(write(tmp_path, {**files, ".assetsignore": "*.map\nnode_modules\n"}))
    assert sorted(site.files) == ["/a/d", "/keep.txt"]


def test_links_are_followed_to_files_only(tmp_path: Path) -> None:
    """
    A link to a file is that file; one to a directory could lead in a circle and is left out.
    """
    assets = write(tmp_path / "site", {"a.txt": "a"})
    (tmp_path / "site" / "link.txt").symlink_to("a.txt")
    (tmp_path / "site" / "circle").symlink_to(".")
    assert sorted(collect_site(assets).files) == ["/a.txt", "/link.txt"]


def test_too_much_is_refused_by_name(tmp_path: Path) -> None:
    """
    A file that is too large, too many files, a missing directory and a Pages Worker are errors.
    """
    assets = write(tmp_path / "one", {"a.txt": "12345", "b.txt": ""})
    for limits, said in ((AssetLimits(file=4), "a.txt"), (AssetLimits(files=1), "2 files")):
        with pytest.raises(Failure, match=said):
            collect_site(assets, limits)
    with pytest.raises(Failure, match="does not exist"):
        collect_site(Assets(directory=tmp_path / "none"))
    pages = write(tmp_path / "pages", {"_worker.js/index.js": "secret"})
    with pytest.raises(Failure, match=r"_worker\.js would be public"):
        collect_site(pages)
    (tmp_path / "pages" / ".assetsignore").write_text("")
    assert list(collect_site(pages).files) == ["/_worker.js/index.js"]


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        ("a", "a", True),
        ("a", "x/a", True),
        ("/a", "x/a", False),
        ("x/a", "x/a", True),
        ("x/a", "y/x/a", False),
        ("*.map", "deep/er/x.map", True),
        ("*.map\n!keep.map", "keep.map", False),
        ("!keep.map\n*.map", "keep.map", True),
        ("**/b", "a/x/b", True),
        ("**/b", "b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/x/y/c", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "a.txt", True),
        ("[!ab].txt", "a.txt", False),
        ("[!ab].txt", "c.txt", True),
        ("# comment", "# comment", False),
        (r"\#x", "#x", True),
        (r"\!x", "!x", True),
        ("trailing   ", "trailing", True),
        ("dir/", "dir", False),
        ("a.b", "axb", False),
        ("[", "[", True),
        ("", "x", False),
        ("/", "x", False),
    ],
)
def test_patterns_are_those_of_gitignore(patterns: str, path: str, ignored: bool) -> None:
    """
    The last pattern that matches a file decides whether it is left out.
    """
    assert parse_ignore(patterns).ignores(path) is ignored


def test_a_pattern_for_directories_is_for_directories() -> None:
    """
    A pattern with a slash at its end leaves a file of that name alone.
    """
    ignore = parse_ignore("dir/\n")
    assert ignore.ignores("x/dir", is_directory=True)
    assert not ignore.ignores("x/dir")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.tar.gz", "application/gzip"),
        ("noext", "application/null"),
        ("a.unheardof", "application/null"),
    ],
)
def test_types_are_known_by_extension(path: str, content_type: str) -> None:
    """
    The usual files of a site have their types, text with its charset.
    """
    assert content_type_of(path) == content_type
