"""One daemon per directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from workerd_faas.store.lock import AlreadyRunning, DirectoryLock

HOLD = """
import sys, pathlib
from workerd_faas.store.lock import DirectoryLock
lock = DirectoryLock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    """
    While another process has the lock it is refused with that process's id; after it was killed
    the lock is free.
    """
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        lock = DirectoryLock(tmp_path)
        with pytest.raises(AlreadyRunning, match=f"process {holder.pid}"):
            lock.acquire()
        holder.kill()
        holder.wait()
    lock.acquire()
    lock.release()
    lock.release()
    lock.acquire()
    lock.release()
