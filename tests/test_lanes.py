"""A batch in lanes: every image is computed once, the lanes work at the same time, and what one raises is heard."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imagequeue.runtimes import Pixels, Probabilities
from imagequeue.runtimes.lanes import PART, Lanes, parts_of
from tests.support.system import eventually


def numbered(count: int) -> Pixels:
    return np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)


def number_of(pixels: Pixels) -> Probabilities:
    return pixels[:, 0, 0, :1].astype(np.float32)


@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
def test_the_answers_come_in_the_order_of_the_images_however_many_there_are(lanes: int) -> None:
    engine = Lanes([number_of] * lanes)
    for count in (1, 2, 3, 4, 5, 8, 13, 16, 64):
        assert engine.predict(numbered(count))[:, 0].tolist() == list(range(count))


def test_there_are_as_many_parts_for_each_lane() -> None:
    for lanes in range(1, 20):
        for count in range(1, 129):
            parts = parts_of(count, lanes)
            assert parts == count or parts % lanes == 0


@pytest.mark.parametrize("lanes", [1, 2, 7])
def test_parts_are_small_and_of_about_one_size(lanes: int) -> None:
    sizes: list[int] = []

    def predict(pixels: Pixels) -> Probabilities:
        sizes.append(len(pixels))
        return number_of(pixels)

    engine = Lanes([predict] * lanes)
    for count in range(1, 30):
        sizes.clear()
        engine.predict(numbered(count))
        assert len(sizes) == parts_of(count, lanes)
        assert sum(sizes) == count
        assert max(sizes) <= PART
        assert max(sizes) - min(sizes) <= 1


def test_a_later_batch_waits_for_all_parts_of_the_one_before() -> None:
    begun, go_on = threading.Event(), threading.Event()
    order: list[int] = []

    def predict(pixels: Pixels) -> Probabilities:
        begun.set()
        go_on.wait(20)
        order.extend(pixels[:, 0, 0, 0].tolist())
        return number_of(pixels)

    engine = Lanes([predict])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(engine.predict, numbered(15))
        assert begun.wait(20)
        eventually(lambda: engine._threads._work_queue.qsize() == 3)
        later = pool.submit(engine.predict, numbered(100)[50:])
        eventually(lambda: engine._threads._work_queue.qsize() == 3 + 13)
        go_on.set()
        first.result()
        later.result()
    assert order == [*range(15), *range(50, 100)]


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


def test_lanes_are_busy_while_one_of_them_computes() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def predict(pixels: Pixels) -> Probabilities:
        begun.set()
        go_on.wait(20)
        return number_of(pixels)

    engine = Lanes([predict] * 2)
    assert not engine.are_busy
    with ThreadPoolExecutor(1) as pool:
        computed = pool.submit(engine.predict, numbered(1))
        assert begun.wait(20)
        assert engine.are_busy
        go_on.set()
        computed.result()
    eventually(lambda: not engine.are_busy)


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_what_a_lane_raises_is_raised_and_the_next_batch_finds_every_lane_again(lanes: int) -> None:
    all_at_work = threading.Barrier(lanes, timeout=20)

    def predict(pixels: Pixels) -> Probabilities:
        if 3 in pixels:
            raise RuntimeError("out of memory")
        if 200 in pixels:
            # Only with all lanes is a batch of so many parts ever done.
            all_at_work.wait()
        return number_of(pixels)

    engine = Lanes([predict] * lanes)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.predict(numbered(16))
    assert len(engine.predict(np.full((PART * lanes, 2, 2, 3), 200, np.uint8))) == PART * lanes
