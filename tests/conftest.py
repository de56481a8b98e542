"""
The tests run on the daemon's own reactor, chosen before anything can import another one, and in a
directory of their own: trial's `mktemp` makes its files below the working directory.
"""

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from workerd_faas import reactor

reactor.install()
# A test fails for what is wrong, not for a machine that has other things to do.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
# A shell's background jobs ignore Ctrl-C, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.getcwd()  # noqa: PTH109
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)
