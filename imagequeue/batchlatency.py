"""How long the model takes for a batch: as warm-up measured it, corrected by what batches have taken since.

For claiming the next batch just in time, for the margin of a claim (a job that would be answered after its deadline is
not computed: claim.lua), and for the drain rate (complete.lua).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from imagequeue.batch import Batch
from imagequeue.latency import UNKNOWN_LATENCY, Busy, Latency
from imagequeue.model import Model
from imagequeue.warmup import LEAST_AUTO

# Of the correction, the share of the latest batch: after three of them little is left of what was before.
SHARE = 0.5
# One batch that is slower than that is a machine that was stopped, or swapped, rather than a slow model.
MOST_SLOWER = 4.0
# An older correction says nothing: the next batch is taken whatever it was, else a model that was slow once would
# refuse everything from then on.
TRUSTED_SECONDS = 10.0
# The first guess of how long it takes to claim a batch and make it ready; it follows what is measured.
FIRST_LEAD = 0.02


class BatchLatency:
    """Of one worker's model. In the worker's loop only."""

    def __init__(
        self,
        model: Model,
        *,
        max_batch: int,
        longest: float = math.inf,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """max_batch: jobs claimed together. longest: see `limit`. clock: seconds, as those of a claim."""
        self._model = model
        self._max_batch = max_batch
        self._longest = longest
        self._clock = clock
        self._correction = 1.0
        self._measured_at = float("-inf")
        # The instants from which on the model has had one batch only, and of the last batch that was done.
        self._alone_since = 0.0
        self._done_at = 0.0
        self._lead = FIRST_LEAD
        self._is_disturbed = False

    def has_one_batch(self) -> None:
        """From now on the model has one batch only."""
        self._alone_since = self._clock()

    def seconds_left(self, count: int) -> float:
        """Until the model will be done with the one batch that it has, of so many images."""
        return max(0.0, self._model.seconds_for(count) * self._correction - (self._clock() - self._alone_since))

    def seconds_before_claim(self, count: int) -> float:
        """Until the next batch must be claimed so as to be ready when the model is done with so many images."""
        return max(0.0, self.seconds_left(count) - self._lead)

    def claimed_ahead(self, seconds: float) -> None:
        """It took so long to claim a batch and make it ready."""
        self._lead = 0.8 * self._lead + 0.2 * 1.5 * seconds

    def done(self, batch: Batch) -> Busy:
        """The model has answered `batch`."""
        expected = self._model.seconds_for(len(batch))
        if expected > 0 and batch.model_seconds > 0:
            found = min(batch.model_seconds / expected, MOST_SLOWER * self._correction)
            self._correction += SHARE * (found - self._correction)
            self._measured_at = self._clock()
        began, self._done_at = max(batch.claimed_at, self._done_at), self._clock()
        was_disturbed, self._is_disturbed = self._is_disturbed, False
        limit = self.limit
        full = self._model.seconds_for(limit) * self._correction / limit
        return Busy(0.0 if was_disturbed else self._done_at - began, limit, full)

    def disturbed(self) -> None:
        """The worker has waited for Redis with results in hand: what it was busy with since says nothing."""
        self._is_disturbed = True

    @property
    def limit(self) -> int:
        """How many jobs to claim together: max_batch, or, where that takes more than `longest` seconds by now, as many
        as do not, but LEAST_AUTO. Warm-up cannot know how slow a model is on a machine that others use later.
        """
        size = self._max_batch
        while size > LEAST_AUTO and self._model.seconds_for(size) * self._correction > self._longest:
            size = max(LEAST_AUTO, size // 2)
        return size

    def of_next(self, ahead: float) -> Latency:
        """For the next batch, behind what keeps the model busy for `ahead` seconds from now."""
        one = self._model.seconds_for(1) * self._correction
        if one <= 0 or self._clock() - self._measured_at > TRUSTED_SECONDS:
            return UNKNOWN_LATENCY
        limit = self.limit
        most = self._model.seconds_for(limit) * self._correction
        return Latency(one, max(0.0, most - one) / max(1, limit - 1), max(0.0, ahead))
