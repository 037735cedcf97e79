"""A batch: every document in it has an outcome, whatever the model does with one of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from imagequeue.batch import Batch, Outcome
from imagequeue.job import Job
from imagequeue.model import Model, null_class
from imagequeue.replies import Claimed
from tests.support.runningworker import job, null_model


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def batch_of(*jobs: Job, model: Model | None = None, crashes: int = 0) -> Batch:
    claims = [Claimed(one.encode(), queued_ms=7, attempts=1, crashes=crashes) for one in jobs]
    return Batch(claims, "token", model or null_model(), worker_id="w1")


def computed(batch: Batch, thread: ThreadPoolExecutor) -> list[Outcome]:
    batch.start(thread)
    return batch.outcomes(lambda: None)


def test_outcomes_come_in_the_order_of_the_claims(thread: ThreadPoolExecutor) -> None:
    jobs = [job(n) for n in range(13)]
    outcomes = computed(batch_of(*jobs), thread)
    assert [o.job.id for o in outcomes] == [one.id for one in jobs]
    assert [o.result.predictions[0].index for o in outcomes] == [null_class(one.pixels) for one in jobs]
    assert {o.result.facts["batch"] for o in outcomes} == {13}
    assert {o.result.facts["queued_ms"] for o in outcomes} == {7}


def test_a_batch_of_nothing_but_broken_documents_never_reaches_the_model(thread: ThreadPoolExecutor) -> None:
    def predict(pixels):  # type: ignore[no-untyped-def]
        raise AssertionError("computed")

    outcomes = computed(batch_of(Job(pixels=b"123"), model=replace(null_model(), predict=predict)), thread)
    assert "3 bytes of pixels; the model takes 192" in outcomes[0].reason


def test_one_that_raises_is_given_up_alone_and_the_loop_is_told_that_there_is_life(
    thread: ThreadPoolExecutor,
) -> None:
    model, bad, ticks = null_model(), job(3), []

    def predict(pixels):  # type: ignore[no-untyped-def]
        if any(image.tobytes() == bad.pixels for image in pixels):
            raise RuntimeError("this image")
        return model.predict(pixels)

    batch = batch_of(job(1), bad, job(2), model=replace(model, predict=predict))
    batch.start(thread)
    outcomes = batch.outcomes(lambda: ticks.append(1))
    assert [bool(o.reason) for o in outcomes] == [False, True, False]
    assert len(ticks) == 3


def test_a_batch_with_a_job_that_has_killed_is_suspect(thread: ThreadPoolExecutor) -> None:
    assert batch_of(job(1), crashes=1).is_suspect
    assert not batch_of(job(1)).is_suspect


def test_the_wait_ends_in_its_time_while_the_model_is_still_busy(thread: ThreadPoolExecutor) -> None:
    model, go_on, has_gone_on = null_model(), threading.Event(), threading.Event()

    def predict(pixels):  # type: ignore[no-untyped-def]
        go_on.wait(20)
        has_gone_on.set()
        return model.predict(pixels)

    batch = batch_of(job(1), model=replace(model, predict=predict))
    batch.start(thread)
    batch.wait(0.01)
    assert not has_gone_on.is_set()
    assert batch.model_seconds == 0
    go_on.set()
    assert len(batch.outcomes(lambda: None)) == 1
    assert batch.model_seconds > 0


def test_the_wait_ends_when_the_model_is_done(thread: ThreadPoolExecutor) -> None:
    batch = batch_of(job(1))
    batch.start(thread)
    batch.wait(3600)
    assert np.isclose(computed(batch_of(job(1)), thread)[0].result.predictions[0].probability, 1.0)


def test_an_image_that_the_model_answers_with_no_number_is_given_up_alone(thread: ThreadPoolExecutor) -> None:
    model, bad = null_model(), job(3)

    def predict(pixels):  # type: ignore[no-untyped-def]
        found = model.predict(pixels)
        for row, image in enumerate(pixels):
            if image.tobytes() == bad.pixels:
                found[row, 7] = np.nan
        return found

    outcomes = computed(batch_of(job(1), bad, job(2), model=replace(model, predict=predict)), thread)
    assert ["no numbers" in o.reason for o in outcomes] == [False, True, False]
