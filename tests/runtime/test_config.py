"""The configuration text: pure, and hostile strings stay inside their quotes."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.runtime import javascript
from workerd_faas.runtime.config import (
    CheckCell,
    FunctionCell,
    quoted,
    render_check_cell,
    render_function_cell,
)
from workerd_faas.runtime.egress import Egress

_LITERAL = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\["\\nrt]|\\x[0-9a-f]{2})*"')
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")


def read(literal: str) -> str:
    """
    What a literal says, by the grammar's rules.
    """
    simple = {"n": "\n", "r": "\r", "t": "\t"}
    return _ESCAPE.sub(
        lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "x" else simple.get(m[1], m[1]),
        literal[1:-1],
    )


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
hostile = st.text(st.sampled_from('"\\\n\r\t\x7f\x1b(),;[]=x0nü\u2028'))


@given(text | hostile)
def test_a_literal_is_one_literal(value: str) -> None:
    """
    Whatever a string holds, its literal ends where it should and says the same string.
    """
    literal = quoted(value)
    assert _LITERAL.fullmatch(literal)
    assert read(literal) == value


@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800"])
def test_what_cannot_be_said_is_refused(value: str) -> None:
    """
    NUL and lone surrogates raise ValueError.
    """
    with pytest.raises(ValueError):
        quoted(value)


@given(hostile.filter(bool), hostile, hostile)
def test_hostile_values_stay_inside_their_quotes(path: str, name: str, network: str) -> None:
    """
    With the literals taken out, the configuration is the same whatever the values were.
    """

    def render(path: str, name: str, network: str) -> str:
        return render_function_cell(
            FunctionCell(
                listen=Path("/r") / path.replace("/", "_"),
                daemon=Path("/d") / path.replace("/", "_"),
                modules=((name, network),),
                egress=Egress(allow=(network,), deny=(name,)),
                loaded_versions=7,
            )
        )

    skeleton = _LITERAL.sub('""', render("x", "y", "z"))
    assert _LITERAL.sub('""', render(path, name, network)) == skeleton


def test_a_check_cell_has_no_network() -> None:
    """
    Nothing is allowed, and there is no service for the daemon.
    """
    config = render_check_cell(CheckCell(listen=Path("/r/h"), modules=(("m.js", ""),)))
    assert "allow = []" in config
    assert "external" not in config


def test_a_function_cell_listens_and_dials_where_it_should() -> None:
    """
    Both sockets are named as unix sockets, and `cf` comes from the relay's header.
    """
    config = render_function_cell(
        FunctionCell(
            listen=Path("/r/h"),
            daemon=Path("/r/d"),
            modules=javascript.sources(javascript.ROUTER),
            egress=Egress(allow=("public",), deny=("10.0.0.0/8",)),
            loaded_versions=7,
        )
    )
    assert '"unix:/r/h"' in config
    assert '"unix:/r/d"' in config
    assert 'cfBlobHeader = "wfaas-cf"' in config
    assert '(name = "LOADED_VERSIONS", json = "7")' in config
    assert 'allow = ["public"], deny = ["10.0.0.0/8"]' in config


def test_our_javascript_is_all_there() -> None:
    """
    Every module that ours import is among those that the cell is given, or (client_main.js) that a
    function's isolate is.
    """
    given = ("cloudflare:", "node:", "./__workerd_faas_", "MAIN")
    for names in (javascript.ROUTER, javascript.CHECK):
        modules = dict(javascript.sources(names))
        for source in modules.values():
            for imported in re.findall(r'^import .* from "([^"$]+)";$', source, re.M):
                assert imported in modules or imported.startswith(given)
