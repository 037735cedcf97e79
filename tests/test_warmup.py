"""The batch size is measured, and every size that will be used is warm before the first job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagequeue import warmup
from imagequeue.model import Model, load
from imagequeue.warmup import choose, warm_up


def model_that_counts(seen: list[int]) -> Model:
    model = load("null", weights="random", labels="imagenet", size=(4, 4), preprocessing="auto", threads=1)

    def predict(pixels):  # type: ignore[no-untyped-def]
        seen.append(len(pixels))
        return model.predict(pixels)

    return replace(model, predict=predict)


def test_the_smallest_batch_within_three_percent_of_the_best_rate_is_chosen() -> None:
    assert choose({1: 0.400, 2: 0.790, 4: 1.570}) == 1
    assert choose({1: 0.400, 2: 0.600, 4: 1.000, 8: 1.980}) == 4
    assert choose({1: 0.100, 2: 0.100, 4: 0.100, 8: 0.100}) == 8


def test_for_a_model_that_answers_at_once_the_cost_around_it_counts() -> None:
    assert choose({1: 0.0001, 2: 0.0002, 4: 0.0004, 8: 0.0008}) == 8


def test_a_size_that_is_set_is_warmed_with_all_below_it() -> None:
    seen: list[int] = []
    model, max_batch = warm_up(model_that_counts(seen), 8)
    assert max_batch == 8
    assert set(seen) == set(model.paces) == {1, 2, 4, 8}


def test_the_search_ends_when_larger_batches_bring_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def seconds(model: Model, size: int) -> float:
        asked.append(size)
        return 0.2 if size <= 32 else 0.2 * size / 32

    monkeypatch.setattr(warmup, "_seconds", seconds)
    model, max_batch = warm_up(model_that_counts([]), None)
    assert max_batch == 32
    assert asked == [1, 2, 4, 8, 16, 32, 64, 128]
    assert set(model.paces) == {1, 2, 4, 8, 16, 32}


def test_a_batch_that_takes_long_already_is_not_doubled_whatever_it_would_bring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def seconds(model: Model, size: int) -> float:
        asked.append(size)
        return warmup.LONGEST_DOUBLED * (1 + size / 1000)

    monkeypatch.setattr(warmup, "_seconds", seconds)
    assert warm_up(model_that_counts([]), None)[1] == warmup.LEAST_AUTO
    assert asked == [1, 2, 4, 8, 16]


def test_where_batches_bring_nothing_the_least_is_given_and_no_more_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def seconds(model: Model, size: int) -> float:
        asked.append(size)
        return 0.02 * size

    monkeypatch.setattr(warmup, "_seconds", seconds)
    assert warm_up(model_that_counts([]), None)[1] == warmup.LEAST_AUTO
    assert asked == [1, 2, 4, 8, 16]


def test_a_batch_of_13_is_cut_into_warmed_sizes() -> None:
    seen: list[int] = []
    model = model_that_counts(seen)
    model.classify(model.batch_of([bytes([n]) * 48 for n in range(13)]), [1] * 13)
    assert seen == [8, 4, 1]
    assert replace(model, paces={1: 1.0, 2: 1.5, 4: 2.0, 8: 3.0}).seconds_for(13) == 6.0
