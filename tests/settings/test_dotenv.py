"""The `.env` reader against what shells and people write."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerd_faas.settings.dotenv import parse

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("A = b ", "b"),
        ("  export A=b", "b"),
        ("export\tA=b", "b"),
        ("A=b c  d", "b c  d"),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A=#c", "#c"),
        ("A= # comment", ""),
        ("A=b=c==", "b=c=="),
        ("A=postgres://u:p@h/d?x=1&y=2", "postgres://u:p@h/d?x=1&y=2"),
        ("A='b # c'", "b # c"),
        ("A='b' # comment", "b"),
        ('A="b # c"', "b # c"),
        ('A="b"#comment', "b"),
        (r'A="say \"hi\" \\ \$5 \n"', 'say "hi" \\ $5 \n'),
        (r"A='no \n escape'", r"no \n escape"),
        (r"A=tcp6:8080:interface=\:\:1", r"tcp6:8080:interface=\:\:1"),
        (r'A="tcp6:8080:interface=\:\:1"', r"tcp6:8080:interface=\:\:1"),
        ("A=$HOME", "$HOME"),
        ("A=it's", "it's"),
        ("A='one\ntwo'", "one\ntwo"),
        ('A="one\ntwo"', "one\ntwo"),
        ("A=b\r\n", "b"),
        ("A=b\r", "b"),
    ],
)
def test_a_value_is_read_as_written(line: str, value: str) -> None:
    """Comments, quotes, spaces, `export`, `=` and every line end leave the value whole."""
    assert parse(line).values == {"A": value}
    assert parse(f"# first\n\n{line}\nB=after\n").values == {"A": value, "B": "after"}


def test_the_byte_order_mark_is_no_part_of_the_first_name() -> None:
    """A file that an editor began with a byte order mark gives the name without it."""
    assert parse("\ufeffA=b").values == {"A": "b"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("just words", "is no assignment"),
        ("=b", "is no assignment"),
        ("1A=b", "begins with no name"),
        ("A-B=c", "begins with no name"),
        ("A='open", "never closed"),
        ('A="open', "never closed"),
        ("A='b'c", "more text behind"),
        ('A="b" c', "more text behind"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_the_rest_is_read(line: str, says: str) -> None:
    """One bad line is reported by its number, its value is not quoted, others are read."""
    parsed = parse(f"FIRST=1\n{line}\nLAST=2\n")
    assert [mistake.line for mistake in parsed.mistakes] == [2]
    assert says in parsed.mistakes[0].message
    assert "open" not in parsed.mistakes[0].message.replace("opening", "")
    assert parsed.values == {"FIRST": "1", "LAST": "2"}


def test_a_name_given_twice_is_a_mistake() -> None:
    """The second of two assignments to a name is reported, not obeyed in silence."""
    parsed = parse("A=1\nB=2\nA=3\n")
    assert parsed.values == {"A": "1", "B": "2"}
    assert [(m.line, "A is given a second time" in m.message) for m in parsed.mistakes] == [
        (3, True)
    ]


@given(st.dictionaries(NAMES, TEXT, max_size=5))
def test_single_quotes_keep_everything(values: dict[str, str]) -> None:
    """Whatever has no single quote comes back from between single quotes unchanged."""
    values = {name: value.replace("'", "") for name, value in values.items()}
    content = "".join(f"{name}='{value}'\n" for name, value in values.items())
    assert parse(content).values == values
    assert not parse(content).mistakes


@given(st.dictionaries(NAMES, TEXT, max_size=5))
def test_double_quotes_keep_what_is_escaped(values: dict[str, str]) -> None:
    """Any text comes back from between double quotes when backslash and quote are escaped."""
    content = ""
    for name, value in values.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        content += f'{name}="{escaped}"\n'
    assert parse(content).values == values


@given(st.text(max_size=200))
def test_no_file_makes_it_fail(content: str) -> None:
    """Any text at all gives values and mistakes, never an exception."""
    parsed = parse(content)
    assert all(mistake.line >= 1 for mistake in parsed.mistakes)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.from_regex(
            r"(export )?[A-Z]{1,8}=([a-z0-9/.:@+-]{0,9}|'[^'\x00-\x1f\x7f-\uffff]{0,9}'|"
            r'"[a-z #=;|&()<>]{0,9}")( # [a-z ]{0,5})?',
            fullmatch=True,
        ).filter(str.isascii),
        max_size=6,
        unique_by=lambda line: line.removeprefix("export ").partition("=")[0],
    )
)
def test_a_shell_reads_the_same(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """What both a shell and we accept means the same to both."""
    file: Path = tmp_path_factory.mktemp("env") / "env"
    file.write_text("\n".join(["MARKER=1", *lines]) + "\n")
    shell = subprocess.run(
        ["env", "-i", "/bin/sh", "-c", f"set -a; . {file}; exec /usr/bin/env -0"],
        capture_output=True,
        check=True,
        text=True,
    )
    told = dict(entry.split("=", 1) for entry in shell.stdout.split("\0") if entry)
    parsed = parse(file.read_text())
    assert not parsed.mistakes
    assert {name: told[name] for name in parsed.values} == parsed.values
