"""
The tests run on the daemon's own reactor, chosen before anything can import another one, and in a
directory of their own: trial's `mktemp` makes its files below the working directory.
"""

import os
from collections.abc import Iterator

import pytest

from workerd_faas import reactor

reactor.install()


@pytest.fixture(autouse=True, scope="session")
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.getcwd()  # noqa: PTH109
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)
