"""Names of modules in what workerd says about code that does not load."""

import pytest

from tests.runtime.test_small_parts import refusal


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Uncaught Error: x\n  at file:///bundle/index.js:6:15", "at index.js:6:15"),
        ("x\n    at f (file:///bundle/a/b.js:1:2)", "at f (a/b.js:1:2)"),
        ("x\n  at file:///bundle/a%20b.js:1:2", "at a b.js:1:2"),
        ('No such module "file:///bundle/gone.js".', 'No such module "gone.js".'),
        ("x\n  at index.js:6:15", "at index.js:6:15"),
        ("x\n  at y\n  at file:///bundle/__workerd_faas.js:2:1", "at y"),
    ],
)
def test_modules_have_the_names_they_were_uploaded_under(said: str, shown: str) -> None:
    """
    The URLs that workerd has for modules with new compatibility dates become names again.
    """
    message = refusal({"error": said})
    assert message.endswith(shown)
    assert "bundle" not in message
