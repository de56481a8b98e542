"""Module names."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.modules import normalise_module_name


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("index.js", "index.js"),
        ("./0123-a.wasm", "0123-a.wasm"),
        ("lib/deep/a.js", "lib/deep/a.js"),
        ("metadata.json", "metadata.json"),
        ("with space.txt", "with space.txt"),
        ("ünï.js", "ünï.js"),
        (".hidden", ".hidden"),
        ("...", "..."),
    ],
)
def test_relative_paths_are_names(sent: str, name: str) -> None:
    """
    A relative path is a module name, without the `./` that Wrangler puts before some.
    """
    assert normalise_module_name(sent) == name


@pytest.mark.parametrize(
    "sent",
    [
        "", ".", "./", "..", "../a.js", "../../victim/index.js", "a/../b.js", "a/./b.js", "a//b.js",
        "/etc/passwd", ".//etc/passwd", "././a.js", "a\\b.js", "..\\a", "a\0.js", "a\n.js", "\x7f",
        "a\u0085b", "node:fs", "cloudflare:workers", "file:///a", "C:a", "a/", "x" * 513, "\ud800",
        "__workerd_faas_main__.js",
    ],
)  # fmt: skip
def test_hostile_names_are_refused(sent: str) -> None:
    """
    A name that is absolute, climbs, has odd characters or two spellings is refused.
    """
    with pytest.raises(Problem) as caught:
        normalise_module_name(sent)
    assert caught.value.kind is Kind.INVALID_MODULE


@given(st.text(alphabet="a./\\:\0-é", max_size=12))
def test_an_accepted_name_stays_inside_and_has_one_spelling(sent: str) -> None:
    """
    An accepted name joined to a directory stays below it, and is its own normal form.
    """
    try:
        name = normalise_module_name(sent)
    except Problem:
        return
    joined = posixpath.normpath(posixpath.join("/base", name))
    assert joined == f"/base/{name}"
    assert normalise_module_name(name) == name
