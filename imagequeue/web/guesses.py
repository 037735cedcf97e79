"""Wrong API keys, counted for each address: beyond a few in a minute the answer is 429.

A right key works at any time, from the same address too: else one client with an outdated key would shut out everybody
behind the same router. So this slows whoever heeds a 429, keeps guesses out of the log, and makes them visible there.
What makes guessing futile is the length of the keys.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from imagequeue.events import warn
from imagequeue.web.ratelimit import RateLimit

# Wrong keys of one client in WINDOW_SECONDS, before it is told to wait.
MOST = 10
WINDOW_SECONDS = 60.0
# The same, as RateLimit has it.
RATE = f"{MOST}/minute"
# Clients that a process remembers; the one that has guessed least recently is forgotten.
MOST_CLIENTS = 4096


@dataclass
class _Window:
    """Of one client: when it ends (of time.monotonic), the wrong keys in it, whether the log has a line of them."""

    ends: float
    count: int = 0
    is_logged: bool = False


class Guesses:
    """The recent wrong keys: of all web servers while Redis counts them, else of this process. Safe in threads."""

    def __init__(self, shared: RateLimit | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """shared: of RATE."""
        self._shared = shared
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, client: str) -> int:
        """Count a wrong key; returns the seconds that `client` is to wait, 0 while there were few."""
        with self._lock:
            now = self._clock()
            window = self._window(client, now)
            window.count += 1
            is_first = window.count <= MOST
        # A client that is known to wait costs Redis nothing.
        allowance = self._shared.count(f"guesses:{client}") if self._shared and is_first else None
        with self._lock:
            if allowance is not None and not allowance.is_allowed:
                window.count, window.ends = MOST + 1, now + allowance.seconds
            if window.count <= MOST:
                return 0
            is_news, window.is_logged = not window.is_logged, True
        seconds = max(1, math.ceil(window.ends - now))
        if is_news:
            warn("keys_guessed", client=client, seconds=seconds)
        return seconds

    def _window(self, client: str, now: float) -> _Window:
        window = self._windows.get(client)
        if window is None or window.ends <= now:
            window = self._windows[client] = _Window(now + WINDOW_SECONDS)
        self._windows.move_to_end(client)
        while len(self._windows) > MOST_CLIENTS:
            self._windows.popitem(last=False)
        return window
