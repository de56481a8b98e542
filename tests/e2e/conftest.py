"""Daemons that tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, running
from tests.e2e.wrangling import Shell, environment


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """
    A daemon as in production, for tests that only add functions of their own.
    """
    with running(ACCESS_LOG="true", EGRESS_ALLOW="127.0.0.1/32") as started:
        yield started


@pytest.fixture(scope="session")
def dev() -> Iterator[Daemon]:
    """
    A daemon as `make run` starts it.
    """
    with running(dev=True) as started:
        yield started


@pytest.fixture
def shell(tmp_path: Path, dev: Daemon) -> Shell:
    """
    An empty project in which Wrangler is pointed at the daemon.
    """
    project = tmp_path / "project"
    project.mkdir()
    return Shell(project, dev, environment(tmp_path / "home", dev))
