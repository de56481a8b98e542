"""Module rules and their patterns."""

import pytest

from workerd_faas.cli.config.rules import DEFAULT_RULES, Rule, effective_rules, matches


@pytest.mark.parametrize(
    ("glob", "text", "globstar", "expected"),
    [
        # What stands in an import: `*` matches everything.
        ("**/*.txt", "./a.txt", False, True),
        ("**/*.txt", "../x/y/a.txt", False, True),
        ("**/*.txt", "a.txt", False, False),
        ("**/*.wasm?module", "./a.wasm?module", False, True),
        ("**/*.wasm", "./a.wasm?module", False, False),
        ("*.md", "./x/a.md", False, True),
        ("**/*.txt", "./aXtxt", False, False),
        # Paths of files.
        ("**/*.txt", "a.txt", True, True),
        ("**/*.txt", "x/y/a.txt", True, True),
        ("*.txt", "x/a.txt", True, False),
        ("lang/*.mjs", "lang/de.mjs", True, True),
        ("lang/*.mjs", "lang/x/de.mjs", True, False),
        ("lang/**/*.mjs", "lang/x/de.mjs", True, True),
        ("**/*", "a/b", True, True),
        ("a+(b).txt", "a+(b).txt", True, True),
        ("**/*.txt", "a.txt\n", True, False),
    ],
)
def test_patterns(glob: str, text: str, globstar: bool, expected: bool) -> None:
    """
    A pattern matches exactly what it matches in Wrangler.
    """
    assert matches(glob, text, globstar=globstar) is expected


def test_default_rules_hold_without_own_ones() -> None:
    """
    Without own rules the default ones are all in force.
    """
    assert effective_rules(()).rules == DEFAULT_RULES


def test_a_rule_shuts_out_later_ones_of_its_type() -> None:
    """
    An own Text rule without fallthrough takes the place of the default one, with a warning.
    """
    own = Rule("Text", ("**/*.md",))
    found = effective_rules((own,))
    assert found.rules == (own, *DEFAULT_RULES[1:])
    assert found.shadowed == (DEFAULT_RULES[0],)
    assert len(found.warnings) == 1


def test_fallthrough_keeps_later_rules() -> None:
    """
    With fallthrough both count, and nothing is warned of.
    """
    own = Rule("Text", ("**/*.md",), True)
    found = effective_rules((own,))
    assert found.rules == (own, *DEFAULT_RULES)
    assert (found.shadowed, found.warnings) == ((), ())


def test_false_silences_the_warning() -> None:
    """
    `fallthrough: false` says that it is meant.
    """
    assert effective_rules((Rule("Text", ("**/*.md",), False),)).warnings == ()
