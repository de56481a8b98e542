"""The bundle container."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerd_faas.domain.model import Binding, BindingKind, Code, Module, ModuleKind
from workerd_faas.wire.bundle import (
    MalformedBundle,
    decode_bundle,
    encode_bundle,
    load_document_for_check,
)

modules = st.lists(
    st.builds(
        Module,
        name=st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable()),
        kind=st.sampled_from(ModuleKind),
        content=st.binary(max_size=200),
    ),
    max_size=5,
)


@given(modules)
def test_a_bundle_comes_back_byte_for_byte(made: list[Module]) -> None:
    """
    Names, kinds, order and bytes survive the container, empty and binary modules too.
    """
    bundle = decode_bundle(encode_bundle("main.js", made))
    assert bundle.main_module == "main.js"
    assert list(bundle.modules) == made


@given(modules, st.data())
def test_a_damaged_bundle_is_never_taken(made: list[Module], data: st.DataObject) -> None:
    """
    A bundle that was cut short or made longer is refused.
    """
    whole = encode_bundle("main.js", made)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (whole[:cut], whole + b"x"):
        with pytest.raises(MalformedBundle):
            decode_bundle(damaged)


def test_a_cell_is_given_env_and_settings() -> None:
    """
    The load document says how to run the modules and what `env` holds.
    """
    code = Code(
        main_module="a.js",
        modules=(Module(name="a.js", kind=ModuleKind.ESM, content=b"export{}"),),
        compatibility_date="2026-01-01",
        compatibility_flags=("nodejs_compat",),
        bindings=(
            Binding(name="TEXT", kind=BindingKind.PLAIN_TEXT, value="x"),
            Binding(name="JSON", kind=BindingKind.JSON, value={"a": [1]}),
        ),
    )
    data = load_document_for_check(code, "hello")
    magic, length = struct.unpack_from(">4sI", data)
    header = json.loads(data[8 : 8 + length])
    assert magic == b"WFL1"
    assert header == {
        "main": "a.js",
        "modules": [{"name": "a.js", "kind": "esm", "size": 8}],
        "compatibility_date": "2026-01-01",
        "compatibility_flags": ["nodejs_compat"],
        "env": {"TEXT": "x", "JSON": {"a": [1]}},
        "bindings": [],
        "function": "hello",
    }
    assert data[8 + length :] == b"export{}"
