"""Which of a server's processes takes a connection: the one that has fewer.

All of them are woken by it, and the first to be awake would have most of a crowd.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# A connection is left for so long to a process with fewer; if it does not take it, none is for the second time.
TURN_SECONDS = 0.03
NO_TURN_SECONDS = 0.2


class Sharing:
    """The view of one process. In its event loop."""

    def __init__(self, least_elsewhere: Callable[[int], int | None]) -> None:
        """least_elsewhere: tells the siblings how many connections are here, and returns the fewest of one of them;
        None without any.
        """
        self._least_elsewhere = least_elsewhere
        self._told = 0
        # A connection that is left to a sibling: whether it was in this round of the loop, and until when it will be.
        self._is_left = False
        self._left_until = 0.0
        self._none_left_until = 0.0

    def tell(self, count: int) -> None:
        """So many connections are here."""
        if self._told != count:
            self._told = count
            self._least_elsewhere(count)

    def leaves(self, count: int) -> bool:
        """Whether a connection that comes is better for a sibling; one that does not come soon is not waited for again
        at once. count: of the connections here.
        """
        least, now = self._least_elsewhere(count), time.monotonic()
        if least is None or count <= least + 1 or now < self._none_left_until:
            return False
        self._left_until = self._left_until or now + TURN_SECONDS
        if now >= self._left_until:
            self._none_left_until = now + NO_TURN_SECONDS
            return False
        self._is_left = True
        # The loop would be told of it again at once.
        time.sleep(TURN_SECONDS / 30)
        return True

    def begin_round(self) -> bool:
        """Whether the loop must not wait: a connection was left, and could not be told from the next one."""
        was_left, self._is_left = self._is_left, False
        return was_left

    def end_round(self) -> None:
        if not self._is_left:
            # Somebody has taken it.
            self._left_until = 0.0
