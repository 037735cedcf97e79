"""For whom a decoder works, and until when."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass

from imagequeue.errors import ClientGone, DeadlineExceeded

# Linux tells that the other side has hung up; elsewhere nobody is taken for gone.
HUNG_UP = getattr(select, "POLLRDHUP", 0)
# Seconds between two looks at whether a client that waits for its turn is still there.
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Turn:
    """For whom something is decoded: until which instant (of time.monotonic), and on which connection it waits."""

    until: float
    client: socket.socket | None = None

    def check(self) -> None:
        """Raises DeadlineExceeded, ClientGone."""
        if time.monotonic() >= self.until:
            raise past_deadline()
        if self.client is not None and _has_hung_up(self.client):
            raise ClientGone("The client has hung up.")

    @property
    def look_seconds(self) -> float:
        """How long to wait before the next `check`."""
        return min(LOOK_SECONDS, max(0.0, self.until - time.monotonic()))


def past_deadline() -> DeadlineExceeded:
    return DeadlineExceeded("The deadline passed before the image was decoded.")


def _has_hung_up(client: socket.socket) -> bool:
    descriptor = client.fileno()
    if descriptor < 0 or not HUNG_UP:
        return False
    poll = select.poll()
    poll.register(descriptor, HUNG_UP)
    return bool(poll.poll(0))
