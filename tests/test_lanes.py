"""A batch in lanes: every image is computed once, the lanes work at the same time, and what one raises is heard."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from imagequeue.runtimes import Pixels, Probabilities
from imagequeue.runtimes.lanes import PART, Lanes, part_of


def numbered(count: int) -> Pixels:
    return np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)


def number_of(pixels: Pixels) -> Probabilities:
    return pixels[:, 0, 0, :1].astype(np.float32)


@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
def test_the_answers_come_in_the_order_of_the_images_however_many_there_are(lanes: int) -> None:
    engine = Lanes([number_of] * lanes)
    for count in (1, 2, 3, 4, 5, 8, 13, 16, 64):
        assert engine.predict(numbered(count))[:, 0].tolist() == list(range(count))


def test_parts_are_small_and_leave_no_lane_without_one() -> None:
    assert [part_of(count, 2) for count in (1, 2, 4, 8, 16, 32)] == [1, 1, 2, 4, 4, 4]
    assert [part_of(count, 1) for count in (1, 2, 4, 8, 16)] == [1, 2, 4, 4, 4]
    assert [part_of(count, 8) for count in (8, 16, 32, 64)] == [1, 2, 4, 4]
    # Six lanes and sixteen images: five parts of three and one of one, not four of four.
    assert part_of(16, 6) == 3
    assert all(part_of(count, lanes) <= PART for count in range(1, 129) for lanes in range(1, 20))


def test_two_lanes_compute_at_the_same_time_and_none_of_them_two_parts_at_once() -> None:
    both = threading.Barrier(2, timeout=20)

    def lane() -> object:
        busy = threading.Lock()

        def predict(pixels: Pixels) -> Probabilities:
            assert busy.acquire(blocking=False)
            # Each part waits for one in the other lane.
            both.wait()
            busy.release()
            return number_of(pixels)

        return predict

    engine = Lanes([lane(), lane()])  # type: ignore[list-item]
    assert len(engine.predict(numbered(16))) == 16


def test_what_a_lane_raises_is_raised_and_the_next_batch_finds_the_lane_again() -> None:
    broken = threading.Event()

    def predict(pixels: Pixels) -> Probabilities:
        if broken.is_set() and 3 in pixels:
            raise RuntimeError("out of memory")
        return number_of(pixels)

    engine = Lanes([predict])
    broken.set()
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.predict(numbered(16))
    broken.clear()
    assert len(engine.predict(numbered(16))) == 16
