"""The one call that any file makes to say what happened: `log("claimed", job=id, batch=8)`.

It only puts a record on the standard logger "imagequeue"; who configures logging decides what a line looks
like and where it goes (the scripts do so with `logutil`). Used as a library, the package is therefore silent
below warnings, like any other.
"""

from __future__ import annotations

import logging
from typing import Any

LOGGER = logging.getLogger("imagequeue")


def log(action: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Record that `action` happened, with `fields` in the order given; `job=<id>` wherever a job is concerned.

    Never raises, is safe in threads and after forks, and costs a microsecond when the level is off.
    """
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, action, extra={"fields": fields})


def warn(action: str, **fields: object) -> None:
    """`log` at level WARNING: somebody may have to act, the service goes on by itself."""
    log(action, level=logging.WARNING, **fields)


def fail(action: str, **fields: object) -> None:
    """`log` at level ERROR: something was given up."""
    log(action, level=logging.ERROR, **fields)
