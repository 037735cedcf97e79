"""Faults on demand, for tests and drills only: what the environment variable TEST_FAULTS asks of a worker.

    TEST_FAULTS="crash=claimed"            SIGKILL itself when its loop passes the point `claimed`
    TEST_FAULTS="crash=predicted:3:STOP"   SIGSTOP itself when it passes the point `predicted` for the third time
    TEST_FAULTS="kill=483 raise=7"         an image of class 483 kills the process, one of class 7 raises
    TEST_FAULTS="slow=0.02"                the model takes 20 ms longer for each image, from the first claim on
    TEST_FAULTS="slower=100:3 slow=0.02"   three times longer from its hundredth call on
    TEST_FAULTS="hang=483"                 the model never returns from an image of class 483
    TEST_FAULTS="wrong=5"                  at its fifth call a full garbage collection, after which the model is wrong
    TEST_FAULTS="lanes slow=0.02"          it is given the next batch as soon as that is claimed, as one with lanes is

The points, in the order of worker.py: rung, claimed, predicted, completed; with lanes the next batch is `claimed`
before the first is `predicted`. Classes are what the `null` model makes of an image. Without the variable nothing here
runs. Each fault is logged before it happens.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from imagequeue.errors import ConfigurationError
from imagequeue.events import warn
from imagequeue.model import Model
from imagequeue.runtimes import Pixels, Probabilities


class Faults:
    """Parsed from the variable's text; raises ConfigurationError for what it does not know."""

    def __init__(self, text: str) -> None:
        self._passed: Counter[str] = Counter()
        self._point, self._at_count, self._signal = "", 1, signal.SIGKILL
        self._slow = 0.0
        self._slower_from, self._slower_by = 0, 1.0
        self._has_lanes = False
        self._wrong_from, self._calls, self._is_wrong = 0, 0, False
        self._classes: dict[int, str] = {}
        try:
            for word in text.split():
                kind, _, value = word.partition("=")
                if kind == "crash":
                    point, *rest = value.split(":")
                    self._point = point
                    self._at_count = int(rest[0]) if rest else 1
                    self._signal = signal.Signals[f"SIG{rest[1]}"] if rest[1:] else signal.SIGKILL
                elif kind in ("kill", "raise", "hang"):
                    self._classes[int(value)] = kind
                elif kind == "slow":
                    self._slow = float(value)
                elif kind == "slower":
                    calls, _, factor = value.partition(":")
                    self._slower_from, self._slower_by = int(calls), float(factor)
                elif kind == "wrong":
                    self._wrong_from = int(value)
                elif word == "lanes":
                    self._has_lanes = True
                else:
                    raise ValueError(word)
        except (ValueError, KeyError) as error:
            raise ConfigurationError(f"TEST_FAULTS: {text!r} is not understood ({error}).") from error

    def at(self, point: str) -> None:
        """The worker's loop passes `point`."""
        self._passed[point] += 1
        if point == self._point and self._passed[point] == self._at_count:
            warn("fault", point=point, signal=self._signal.name)
            os.kill(os.getpid(), self._signal)

    def in_model(self, model: Model) -> Model:
        """The same model, with the faults that images bring about."""
        if self._has_lanes:
            model = replace(model, has_lanes=True)
        if not self._slow and not self._classes and not self._wrong_from:
            return model
        predict: Callable[[Pixels], Probabilities] = model.predict

        def faulty(pixels: Pixels) -> Probabilities:
            probabilities = predict(pixels)
            is_slower = 0 < self._slower_from <= self._calls
            slow = self._slow * (self._slower_by if is_slower else 1)
            for found in probabilities.argmax(axis=1):
                # What the worker computes at its start is nobody's image, and ten minutes may be asked for.
                time.sleep(slow if self._passed["claimed"] else 0.0)
                kind = self._classes.get(int(found))
                if kind:
                    warn("fault", kind=kind, image_class=int(found))
                if kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                elif kind == "raise":
                    raise RuntimeError(f"an image of class {found}, as TEST_FAULTS asks")
                elif kind == "hang":
                    signal.pause()
            self._calls += 1
            if self._calls == self._wrong_from:
                warn("fault", kind="wrong", calls=self._calls)
                gc.collect()
                # Not sooner: another thread may be in the model at this moment.
                self._is_wrong = True
            return np.roll(probabilities, 1, axis=1) if self._is_wrong else probabilities

        paces = {size: seconds + size * self._slow for size, seconds in model.paces.items()}
        return replace(model, predict=faulty, paces=paces)
