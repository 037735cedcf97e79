"""The directory in which Gunicorn's processes add up their metrics, and show each other their latest answers."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from imagequeue.errors import ConfigurationError

# prometheus_client's own.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "imagequeue-metrics-"
_LOCK = "lock"
# In memory, where there is such a place: on a full disk a mapped file ends the process that touches it (SIGBUS).
_IN_MEMORY = Path("/dev/shm")


@contextmanager
def shared_directory() -> Iterator[None]:
    """While the block runs, a directory for the numbers of all processes forked in it.

    The user's, if the variable names one; else one that is made and removed here. Raises ConfigurationError.
    """
    named = os.environ.get(DIRECTORY_VARIABLE, "")
    # A private one was inherited from a server that this one replaces, and that removes it in the end.
    is_private = not named or Path(named).name.startswith(_PREFIX)
    try:
        if is_private:
            directory, lock = _make()
            _remove_abandoned(directory.parent)
        else:
            directory, lock = Path(named), None
            # What is in it is mapped into each process: for this user's own.
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{DIRECTORY_VARIABLE}: no directory for the metrics can be made: {error}.") from error
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    owner = os.getpid()
    try:
        yield
    finally:
        # Gunicorn's children leave the block, too.
        if lock is not None and os.getpid() == owner:
            shutil.rmtree(directory, ignore_errors=True)
            lock.close()


def _make() -> tuple[Path, IO[str]]:
    """A new directory, and the lock that says it is in use: the kernel's, which ends with the last process."""
    is_chosen = "TMPDIR" in os.environ
    parent = _IN_MEMORY if not is_chosen and os.access(_IN_MEMORY, os.W_OK | os.X_OK) else None
    made = Path(tempfile.mkdtemp(prefix="imagequeue-new-", dir=parent))
    lock = open(made / _LOCK, "w")  # noqa: SIM115 - held for as long as the server runs
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Under its real name only now, so that nobody takes it for abandoned before it is locked.
    return made.rename(made.with_name(made.name.replace("imagequeue-new-", _PREFIX))), lock


def _remove_abandoned(parent: Path) -> None:
    """What this user's servers left behind that were killed."""
    for directory in parent.glob(f"{_PREFIX}*"):
        # Somebody else's, in use, or removed by another server that starts now.
        with suppress(OSError), _lock_of(directory) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _lock_of(directory: Path) -> Iterator[int]:
    """The lock's descriptor. Raises OSError if the directory is not this user's, or the lock is not a file.

    Anybody may make such a name in a place that all users share: another user's directory, in which the lock is a FIFO,
    whose opening waits for as long as that user likes.
    """
    with _opened(directory, os.O_DIRECTORY) as place, _opened(_LOCK, os.O_NONBLOCK, place) as lock:
        if os.fstat(place).st_uid != os.geteuid() or not stat.S_ISREG(os.fstat(lock).st_mode):
            raise PermissionError(errno.EPERM, "This is not a directory of this user's servers.")
        yield lock


@contextmanager
def _opened(path: str | Path, flags: int, place: int | None = None) -> Iterator[int]:
    """To read, and not through a symbolic link. place: the descriptor of its directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=place)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
