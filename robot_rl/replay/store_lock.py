"""One process writes a store: a kernel lock that dies with its owner, and says who owns it.

learning:  transition → **episode store** → progress model → replay → residual agent → weights
"""

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from robot_rl.errors import DataError

__all__ = ["StoreLock"]


class StoreLock:
    """Exclusive right to write below a folder.

    `flock` is released by the kernel when its owner dies, so a lock cannot go stale; the JSON in
    the file is there for the message. Opening another description would conflict even within one
    process, so two writers in one process are refused as well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def acquire(self) -> bool:
        """Take the lock.

        Returns:
            Whether an earlier owner died without releasing it.

        Raises:
            DataError: Another process (named in the message) holds it.
        """
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(handle, 4096, 0).decode(errors="replace").strip()
            os.close(handle)
            raise DataError(
                f"{self._path.parent.parent}: another writer has this store open ({owner}). "
                "One process writes at a time: end it, or open the store for reading."
            ) from error
        was_stale = os.fstat(handle).st_size > 0
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.ctime()}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(owner).encode(), 0)
        self._handle = handle
        return was_stale

    def release(self) -> None:
        """Give the lock back. Calling it twice is harmless."""
        if self._handle >= 0:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = -1
