"""What in Redis is not what the queue put there: set aside, or read as far as it can be.

Somebody else's program, or a hand in redis-cli, may write under any key of the queue. That may cost what it overwrote;
it must not end a worker again and again, nor break a page that only shows the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress

from imagequeue.connections import redis_errors
from imagequeue.errors import ImageQueueError
from imagequeue.events import warn
from imagequeue.scripts import Scripts

# How long what is set aside is kept for people, seconds.
KEPT_SECONDS = 86_400.0
# No count, and no instant in ms, comes near it.
MOST = 1e15


def set_aside(scripts: Scripts, queue_name: str, worker_id: str) -> None:
    """Move away what is of another type than the queue's under its keys; the next call succeeds then.

    Said once for each, because it is gone. worker_id: whose list is looked at too, or "". A failure is none of its own.
    """
    with suppress(ImageQueueError), redis_errors():
        moved = scripts.run("mend", queue_name, int(KEPT_SECONDS * 1000), worker_id)
        for key, found in zip(moved[::2], moved[1::2], strict=True):
            warn("wrong_type", key=key.decode(errors="replace"), found=found.decode(), kept_seconds=KEPT_SECONDS)


def numbers_in(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, float]:
    """Those of a hash's fields that hold numbers."""
    found = ((field.decode(errors="replace"), finite(value, math.nan)) for field, value in pairs)
    return {field: value for field, value in found if not math.isnan(value)}


def finite(text: bytes, otherwise: float = 0.0) -> float:
    """The number, or `otherwise` where there is none that the queue could have written."""
    try:
        value = float(text)
    except ValueError:
        return otherwise
    return value if abs(value) < MOST else otherwise
