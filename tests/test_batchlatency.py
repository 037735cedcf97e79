"""How long the model takes: what warm-up measured, and what batches show since."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from imagequeue.batchlatency import TRUSTED_SECONDS, BatchLatency
from imagequeue.latency import Latency
from imagequeue.model import Model, load


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Done(SimpleNamespace):
    """As much of a batch as is looked at: images, seconds of the model, the instant of its claim."""

    def __len__(self) -> int:
        return int(self.images)


def batch(images: int, model_seconds: float, claimed_at: float = 0.0) -> Any:
    return Done(images=images, model_seconds=model_seconds, claimed_at=claimed_at)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def model() -> Model:
    """Half a second for one image, 0.1 s for each more."""
    null = load("null", weights="", labels="", size=(4, 4), preprocessing="none", threads=1)
    return replace(null, paces={1: 0.5, 2: 0.6, 4: 0.8, 8: 1.2})


@pytest.fixture
def latency(model: Model, clock: Clock) -> BatchLatency:
    return BatchLatency(model, max_batch=8, clock=clock)


def test_nothing_is_said_before_a_batch_was_measured(latency: BatchLatency) -> None:
    assert latency.of_next(0.0) == Latency()


def test_a_batch_as_fast_as_expected_confirms_the_warm_up(latency: BatchLatency) -> None:
    latency.done(batch(4, 0.8))
    found = latency.of_next(ahead=0.3)
    assert (found.one, found.more, found.ahead) == pytest.approx((0.5, 0.1, 0.3))


def test_a_model_that_has_become_slower_is_believed_within_a_few_batches(latency: BatchLatency) -> None:
    for _ in range(4):
        latency.done(batch(4, 2.4))
    assert latency.of_next(0.0).one == pytest.approx(1.5, rel=0.1)


def test_what_was_measured_long_ago_is_not_believed(latency: BatchLatency, clock: Clock) -> None:
    latency.done(batch(4, 80.0))
    clock.now += TRUSTED_SECONDS + 1
    assert latency.of_next(0.0) == Latency(), "else a model that was slow once would compute nothing any more"


def test_a_model_without_measured_paces_says_nothing(model: Model, clock: Clock) -> None:
    latency = BatchLatency(replace(model, paces={}), max_batch=8, clock=clock)
    latency.done(batch(4, 2.4))
    assert latency.of_next(0.0) == Latency()
    assert latency.seconds_left(4) == 0


def test_what_is_left_of_a_batch_counts_from_when_the_model_had_it_alone(latency: BatchLatency, clock: Clock) -> None:
    latency.has_one_batch()
    clock.now += 0.5
    assert latency.seconds_left(4) == pytest.approx(0.3)
    clock.now += 5
    assert latency.seconds_left(4) == 0


def test_a_worker_is_busy_with_a_batch_from_its_claim_or_the_end_of_the_one_before(
    latency: BatchLatency, clock: Clock
) -> None:
    assert latency.done(batch(4, 0.8, claimed_at=clock.now - 2)).seconds == pytest.approx(2)
    clock.now += 3
    assert latency.done(batch(4, 0.8, claimed_at=clock.now - 5)).seconds == pytest.approx(3), "claimed ahead of time"
    clock.now += 60
    assert latency.done(batch(4, 0.8, claimed_at=clock.now - 1)).seconds == pytest.approx(1), "idle before"


def test_the_next_batch_is_claimed_as_late_as_claims_of_late_allow(latency: BatchLatency) -> None:
    latency.has_one_batch()
    for _ in range(30):
        latency.claimed_ahead(0.2)
    assert latency.seconds_before_claim(4) == pytest.approx(0.8 - 1.5 * 0.2, abs=0.01)
    assert latency.seconds_before_claim(0) == 0


@pytest.mark.parametrize(("slower", "limit"), [(1, 64), (4, 64), (12, 32), (20, 16), (1000, 16)])
def test_a_model_that_has_become_slower_gets_smaller_batches(
    model: Model, clock: Clock, slower: int, limit: int
) -> None:
    ten_ms_each = replace(model, paces={1 << bit: 0.01 * (1 << bit) for bit in range(7)})
    latency = BatchLatency(ten_ms_each, max_batch=64, longest=4.0, clock=clock)
    for _ in range(12):
        latency.done(batch(64, 0.64 * slower))
    assert latency.limit == limit


def test_a_size_that_somebody_has_set_stays(model: Model, clock: Clock) -> None:
    latency = BatchLatency(model, max_batch=8, clock=clock)
    latency.done(batch(8, 5000.0))
    assert latency.limit == 8


def test_one_batch_in_which_the_machine_stood_still_is_not_believed(latency: BatchLatency) -> None:
    latency.done(batch(4, 800.0))
    assert latency.of_next(0.0).one < 2, "a thousand times slower than it is"


def test_what_was_done_while_redis_was_away_says_nothing(latency: BatchLatency, clock: Clock) -> None:
    latency.disturbed()
    assert latency.done(batch(4, 0.8, claimed_at=clock.now - 20)).seconds == 0
    clock.now += 1
    assert latency.done(batch(4, 0.8, claimed_at=clock.now - 1)).seconds == pytest.approx(1)


def test_what_a_full_batch_takes_for_each_of_its_images_is_told_with_any(latency: BatchLatency) -> None:
    found = latency.done(batch(1, 0.5))
    assert (found.limit, found.full) == (8, pytest.approx(1.2 / 8))
