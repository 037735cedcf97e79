"""The folders that the processes write to: whether they can, and how much room there is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from imagequeue.doctor.check import Check, failed, ok, warning

# Bytes below which a folder is too full: four converted models of 100 MB; logs; uploads and what TensorFlow unpacks;
# what Gunicorn's processes share.
MODEL_CACHE_BYTES = 500_000_000
LOG_BYTES = 100_000_000
TEMPORARY_BYTES = 200_000_000
SHARED_BYTES = 16_000_000

Room = Callable[[Path], int]
"""From a folder to the bytes that are free there. Raises OSError."""


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def check_model_cache(folder: Path | None, room: Room = free_bytes) -> Check:
    if folder is None:
        return ok("model cache", "none: every start of a worker converts its model")
    return _check("model cache", folder, MODEL_CACHE_BYTES, "MODEL_CACHE=/folder/with/room, or none", room)


def check_logs(directory: str, room: Room = free_bytes) -> Check:
    if not directory:
        return ok("log folder", "none: the log goes to standard error")
    fix = "LOG_DIR=/folder/of/this/user, or unset it"
    return _check("log folder", Path(directory), LOG_BYTES, fix, room, is_needed=True)


def check_temporary(room: Room = free_bytes) -> Check:
    fix = "TMPDIR=/folder/with/room"
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:
        return failed("temporary folder", str(error.strerror or error), fix)
    return _check("temporary folder", folder, TEMPORARY_BYTES, fix, room, is_needed=True)


def check_shared_memory(folder: Path = Path("/dev/shm"), room: Room = free_bytes) -> Check:
    if not folder.is_dir():
        return ok("shared memory", f"no {folder}: the temporary folder is used")
    return _check("shared memory", folder, SHARED_BYTES, f"mount -o remount,size=64m {folder}", room)


def _check(name: str, folder: Path, least: int, fix: str, room: Room, *, is_needed: bool = False) -> Check:
    """is_needed: without it the processes do not start."""
    # It is made when it is first written to.
    there = next((each for each in (folder.absolute(), *folder.absolute().parents) if os.path.isdir(each)), folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(0, "it is not a folder")
        # Not os.access: it knows nothing of quotas, and root may do everything.
        with tempfile.TemporaryFile(dir=there):
            free = room(there)
    except OSError as error:
        report = failed if is_needed else warning
        return report(name, f"{folder} cannot be written to: {error.strerror or error}", fix)
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < least:
        return warning(name, f"{folder}, {free / 1e6:.0f} MB free; {least / 1e6:.0f} MB are recommended", fix)
    return ok(name, found)
