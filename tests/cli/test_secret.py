"""Words about secrets."""

import pytest

from tests.cli.support import Cli
from workerd_faas.cli.commands.secret_texts import told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"A": "1"}, "1 secret set"),
        ({"A": "1", "B": "2"}, "2 secrets set"),
        ({"A": None}, "1 secret taken away"),
        ({"X": None}, "X was not there"),
        ({"X": None, "Y": None}, "X, Y were not there"),
        ({"A": "1", "B": None, "X": None}, "1 secret set, 1 secret taken away, X was not there"),
    ],
)
def test_what_changes_come_to(changes: dict[str, str | None], words: str) -> None:
    """
    Only what was there is taken away, and one secret is one.
    """
    assert told(changes, {"A", "B"}) == words


def test_a_name_that_looks_like_another_is_refused(cli: Cli) -> None:
    """
    A name with white space around it is not set; nothing is sent.
    """
    cli.log_in()
    done = cli.process("secret", "put", "KEY ", "--name", "hello", input="text")
    assert done.status == 2
    assert "white space" in done.err
