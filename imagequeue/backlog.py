"""What waits in the queue, how fast it is drained, and the refusal of one image more."""

from __future__ import annotations

import math
from dataclasses import dataclass

from imagequeue.errors import QueueFull

# At most this many seconds are asked of a refused client, however slow the drain.
MAX_RETRY_AFTER = 60
# And so many while nothing has been drained yet.
UNKNOWN_RETRY_AFTER = 5
# Documents that may wait where nobody has set how many: 0.8 GB of Redis's memory. Deadlines allow fewer as a rule.
MOST_WAITING = 4096
# How long an image should wait at most while more come than the workers compute: a part of its time, but no less than
# these seconds; and the seconds that a burst may make it longer. Measured in docs/internals.md.
STANDING_PART = 0.1
STANDING_WAIT = 1.0
BURST = 5.0


@dataclass(frozen=True)
class Backlog:
    """How many jobs wait, and how many seconds it takes to drain each of them, as measured lately; 0 if unknown.

    most: how many may wait by that; 0 if unknown.
    """

    depth: int
    seconds_each: float
    most: int = 0

    def refusal(self, *, is_late: bool = False) -> QueueFull:
        """For a client whose job is too much. is_late: by its deadline, or by the wait, not by their number."""
        seconds = self.depth * self.seconds_each
        wanted = math.ceil(seconds) if self.seconds_each else UNKNOWN_RETRY_AFTER
        waits = f", about {seconds:.1f} s" if is_late else ""
        message = f"The queue is full: {self.depth} images wait{waits}."
        return QueueFull(message, max(1, min(MAX_RETRY_AFTER, wanted)))
