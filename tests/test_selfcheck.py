"""A model that turns wrong is found out before it answers again; one that is right is left alone."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import redis

from imagequeue.errors import ModelWrong
from imagequeue.job import Result
from imagequeue.jobqueue import JobQueue
from imagequeue.model import Model, null_class
from imagequeue.runtimes import Pixels, Predict, Probabilities
from imagequeue.selfcheck import FIRST_INTERVAL, LONGEST_INTERVAL, SelfCheck, fixed_images, images_for, moved_by
from tests.support.jobs import ids_in
from tests.support.runningworker import Running, job, null_model, results, send
from tests.support.system import eventually


class Turning:
    """The null model until `turn`, from then on another's answers; counts its calls."""

    def __init__(self) -> None:
        self.right = null_model().predict
        self.is_wrong = False
        self.calls = 0

    def turn(self) -> None:
        self.is_wrong = True

    def predict(self, pixels: Pixels) -> Probabilities:
        self.calls += 1
        probabilities = self.right(pixels)
        return np.roll(probabilities, 1, axis=1) if self.is_wrong else probabilities


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def turning() -> Turning:
    return Turning()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of(predict: Predict, *, has_lanes: bool = False, precision: str = "float32") -> Model:
    return replace(null_model(), predict=predict, has_lanes=has_lanes, precision=precision)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def make_check(threads: ThreadPoolExecutor, clock: Clock) -> Iterator[Callable[[Model], SelfCheck]]:
    """Checks that have begun; they look after no collection once the test is over."""
    made: list[SelfCheck] = []

    def make(model: Model) -> SelfCheck:
        made.append(SelfCheck(model, images=3, clock=clock))
        made[-1].start(threads)
        return made[-1]

    yield make
    for one in made:
        one.stop()


MakeCheck = Callable[[Model], SelfCheck]


@pytest.mark.parametrize("has_lanes", [False, True])
def test_a_wrong_answer_is_found_when_the_check_is_due_and_not_sooner(
    has_lanes: bool, turning: Turning, clock: Clock, make_check: MakeCheck
) -> None:
    check = make_check(of(turning.predict, has_lanes=has_lanes))
    gc.disable()
    try:
        turning.turn()
        calls = turning.calls
        check.begin_if_due()
        check.confirm()
        assert turning.calls == calls
        clock.now += FIRST_INTERVAL
        check.begin_if_due()
        with pytest.raises(ModelWrong, match="has moved by 1"):
            check.confirm()
    finally:
        gc.enable()


def test_a_full_collection_makes_the_check_due_at_once(turning: Turning, make_check: MakeCheck) -> None:
    check = make_check(of(turning.predict))
    turning.turn()
    gc.collect()
    with pytest.raises(ModelWrong):
        check.confirm()


def test_an_answer_that_is_ready_in_the_midst_of_a_collection_is_checked_too(
    turning: Turning, make_check: MakeCheck
) -> None:
    check = make_check(of(turning.predict))
    found: list[bool] = []

    class Owner:
        def __del__(self) -> None:
            turning.turn()
            try:
                check.confirm()
            except ModelWrong:
                found.append(True)

    owner = Owner()
    owner.itself = owner  # type: ignore[attr-defined]
    del owner
    gc.collect()
    assert found == [True]


def test_collections_of_young_objects_cost_nothing(turning: Turning, make_check: MakeCheck) -> None:
    check = make_check(of(turning.predict))
    calls = turning.calls
    gc.collect(0)
    gc.collect(1)
    check.confirm()
    assert turning.calls == calls


def test_a_model_that_the_first_collection_breaks_never_begins(turning: Turning, threads: ThreadPoolExecutor) -> None:
    class Owner:
        def __del__(self) -> None:
            turning.turn()

    # Freed by the collector alone, as what a library has left behind is.
    owner = Owner()
    owner.itself = owner  # type: ignore[attr-defined]
    del owner
    check = SelfCheck(of(turning.predict), images=3)
    try:
        with pytest.raises(ModelWrong):
            check.start(threads)
    finally:
        check.stop()


def test_a_check_that_raises_is_a_wrong_model_too(make_check: MakeCheck) -> None:
    model, calls = null_model(), []

    def predict(pixels: Pixels) -> Probabilities:
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError("no memory")
        return model.predict(pixels)

    check = make_check(of(predict))
    gc.collect()
    with pytest.raises(ModelWrong, match="no memory"):
        check.confirm()


def test_the_checks_become_rarer_and_are_frequent_again_after_a_collection(
    turning: Turning, clock: Clock, make_check: MakeCheck
) -> None:
    check = make_check(of(turning.predict))
    gc.disable()
    try:

        def seconds_to_next() -> float:
            began, calls = clock.now, turning.calls
            while turning.calls == calls:
                clock.now += 1
                check.begin_if_due()
                check.confirm()
            return clock.now - began

        intervals = [seconds_to_next() for _ in range(7)]
        assert intervals[0] == FIRST_INTERVAL
        assert intervals == sorted(intervals)
        assert intervals[-1] == LONGEST_INTERVAL
        gc.collect()
        check.confirm()
        assert seconds_to_next() == FIRST_INTERVAL
    finally:
        gc.enable()


def test_a_slow_models_checks_take_a_five_hundredth_of_its_time(clock: Clock, make_check: MakeCheck) -> None:
    model, calls = null_model(), []

    def predict(pixels: Pixels) -> Probabilities:
        calls.append(1)
        clock.now += 1.0
        return model.predict(pixels)

    check = make_check(of(predict))
    gc.disable()
    try:
        began, before = clock.now, len(calls)
        while clock.now - began < 20_000:
            clock.now += 1
            check.begin_if_due()
            check.confirm()
        assert len(calls) - before < 20_000 / 500 * 1.5
    finally:
        gc.enable()


@pytest.mark.parametrize(("precision", "noise"), [("float32", 1e-4), ("bfloat16", 8e-3), ("int8", 8e-3)])
def test_a_model_whose_last_digits_differ_from_run_to_run_is_left_alone(
    precision: str, noise: float, make_check: MakeCheck
) -> None:
    model, random = null_model(), np.random.default_rng(3)

    def predict(pixels: Pixels) -> Probabilities:
        right = model.predict(pixels)
        return right + random.uniform(-noise, noise, right.shape).astype(np.float32)

    check = make_check(of(predict, precision=precision))
    for _ in range(20):
        gc.collect()
        check.confirm()


def test_a_model_whose_every_call_brings_a_collection_about_is_not_checked_for_ever(make_check: MakeCheck) -> None:
    model, calls = null_model(), []

    def predict(pixels: Pixels) -> Probabilities:
        calls.append(1)
        gc.collect()
        return model.predict(pixels)

    check = make_check(of(predict))
    before = len(calls)
    check.confirm()
    assert len(calls) - before <= 4


def test_what_has_moved_is_measured_by_the_largest_number_and_never_by_nan() -> None:
    right = np.array([[0.2, 0.8]], np.float32)
    assert moved_by(right, right) == 0
    assert moved_by(right + np.float32(0.1), right) == pytest.approx(0.1)
    assert moved_by(right * 1000 + 1, right * 1000) == pytest.approx(1 / 800)
    nan = np.array([[np.nan, 0.8]], np.float32)
    assert moved_by(nan, right) == np.inf
    assert moved_by(right, nan) == np.inf
    assert moved_by(nan, nan) == 0


def test_the_images_are_the_same_each_time_and_differ_from_each_other() -> None:
    images = fixed_images(8, (6, 4))
    assert images.shape == (8, 4, 6, 3)
    assert np.array_equal(images, fixed_images(8, (6, 4)))
    assert len({null_class(image.tobytes()) for image in images}) >= 6
    assert [images_for(threads, 16) for threads in (1, 2, 4, 64)] == [3, 3, 4, 16]
    assert images_for(2, 1) == 1


# In the worker's loop.


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def is_right(number: int, result: Result) -> bool:
    return result.predictions[0].label == f"null_{null_class(job(number).pixels)}"


@pytest.mark.parametrize("has_lanes", [False, True])
def test_no_wrong_answer_is_stored_and_the_jobs_in_hand_go_back_uncharged(
    has_lanes: bool,
    queue: JobQueue,
    start_worker: Callable[..., Running],
    turning: Turning,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # With time to claim the next batch, so that two are in hand.
    model = replace(of(turning.predict, has_lanes=has_lanes), paces={8: 0.02})

    def at(point: str) -> None:
        if point == "claimed" and turning.calls > 8 and not turning.is_wrong:
            turning.turn()
            gc.collect()

    running = start_worker(model, at=at, selfcheck=SelfCheck(model, images=3))
    jobs = [job(n) for n in range(60)]
    with caplog.at_level(logging.ERROR, logger="imagequeue"):
        send(queue, *jobs)
        eventually(lambda: running.is_wrong)
    (line,) = [record for record in caplog.records if record.msg == "model_wrong"]
    assert line.fields["exit"] == 75  # type: ignore[attr-defined]
    found = [Result.decode(envelope) if envelope else None for envelope, _ in queue.look_up([one.id for one in jobs])]
    assert all(is_right(n, result) for n, result in enumerate(found) if result)
    left = [one.id for one, result in zip(jobs, found, strict=True) if not result]
    assert left
    assert ids_in(queue) == left, "in their order"
    for job_id in left:
        state, attempts, crashes = queue.client.hmget(queue.key(f"job:{job_id}"), "state", "attempts", "crashes")
        assert (state, attempts, crashes) == (b"waiting", b"0", b"0")
    start_worker()
    for number, result in enumerate(results(queue, *jobs)):
        assert is_right(number, result)


def test_an_idle_worker_finds_it_out_before_anybody_comes(
    queue: JobQueue, start_worker: Callable[..., Running], turning: Turning, clock: Clock
) -> None:
    model = of(turning.predict)
    running = start_worker(model, selfcheck=SelfCheck(model, images=3, clock=clock))
    turning.turn()
    clock.now += FIRST_INTERVAL
    eventually(lambda: running.is_wrong)
    assert queue.live_workers() == 0, "it has left, and waits for no lease to end"


@pytest.mark.slow
@pytest.mark.parametrize("has_lanes", [False, True])
def test_a_healthy_worker_serves_on_through_collections_and_checks(
    has_lanes: bool, queue: JobQueue, start_worker: Callable[..., Running], turning: Turning
) -> None:
    model = replace(of(turning.predict, has_lanes=has_lanes), paces={8: 0.02})
    check = SelfCheck(model, images=3)
    running = start_worker(model, selfcheck=check, on_batch=lambda outcomes: gc.collect())
    jobs = [job(n) for n in range(200)]
    for start in range(0, 200, 13):
        send(queue, *jobs[start : start + 13])
    for number, result in enumerate(results(queue, *jobs)):
        assert is_right(number, result)
    assert not running.is_wrong
