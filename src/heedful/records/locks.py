"""A lock that two runs cannot hold at once, and that a dead run cannot keep."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from heedful.errors import ArtifactError


class FolderLock:
    """A lock file with the holder's pid and host.

    The kernel's lock decides (it ends with the process, so a dead run's file is simply taken over); what stands in the file
    only tells people whom to look for.

    Args:
        path: the lock file; it is removed when the lock is given back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock; ArtifactError names pid and host of a run that holds it."""
        while self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise ArtifactError(
                    f"{self.path.with_suffix('.work')}: in use by {holder}; wait for it to end, or stop it"
                ) from None
            if _is_current(descriptor, self.path):
                self._descriptor = descriptor
            else:  # its holder removed the file between our open and our lock
                os.close(descriptor)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._descriptor is None:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None


def is_locked(path: Path) -> bool:
    """Return True where a living process holds this lock file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(descriptor: int) -> str:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {found['pid']} on {found['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
