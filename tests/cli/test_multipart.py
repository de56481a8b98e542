"""Forms: what we write, read by another implementation; what we read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.fake_server import parse_strictly
from workerd_faas.cli.client.multipart import Form, MalformedForm, Part, read_form

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"%\r\n/.'), min_size=1
)
parts = st.builds(
    Part,
    name=names,
    filename=st.none() | names,
    content=st.binary(),
    content_type=st.none() | st.sampled_from(["text/plain", "application/wasm"]),
)


def escaped(text: str | None) -> str | None:
    if text is None:
        return None
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@given(st.lists(parts, min_size=1, max_size=5))
def test_others_read_what_we_write(written: list[Part]) -> None:
    """
    A strict parser finds the parts, byte for byte, and the length is right.
    """
    form = Form(written)
    body = b"".join(form.chunks())
    assert len(body) == form.length
    found = parse_strictly(form.content_type, body)
    assert [(p.name, p.filename, p.content_type, p.content) for p in found] == [
        (escaped(p.name), escaped(p.filename), p.content_type, p.content) for p in written
    ]


@given(st.lists(parts, min_size=1, max_size=5))
def test_we_read_what_we_write(written: list[Part]) -> None:
    """
    Reading gives back what was written, but for names that look escaped already.
    """
    found = read_form(b"".join(Form(written).chunks()))
    assert [p.content for p in found] == [p.content for p in written]
    for ours, theirs in zip(found, written, strict=True):
        if "%" not in theirs.name + (theirs.filename or ""):
            assert ours == theirs


@given(st.binary() | st.binary().map(lambda data: b"--x\r\n" + data))
def test_nonsense_is_refused(data: bytes) -> None:
    """
    Any bytes give parts or MalformedForm.
    """
    try:
        read_form(data)
    except MalformedForm as error:
        assert str(error)


@pytest.mark.parametrize("data", [b"", b"--\r\n", b"--x\r\nA: b\r\n\r\n1", b"--x\r\n1\r\n--x--"])
def test_forms_without_end_or_heads(data: bytes) -> None:
    """
    A form without boundary, end or heads is refused.
    """
    with pytest.raises(MalformedForm):
        read_form(data)


def test_boundaries_cannot_be_foreseen() -> None:
    """
    Two forms have different boundaries.
    """
    assert Form([]).boundary != Form([]).boundary
