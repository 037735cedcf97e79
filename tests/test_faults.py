"""Faults on demand: only what is asked for happens, exactly where and when it is asked for."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from imagequeue import faults as faults_module
from imagequeue.errors import ConfigurationError
from imagequeue.faults import Faults
from imagequeue.model import Model, load, null_class

IMAGE = bytes(range(48))
POINTS = ("rung", "claimed", "predicted", "completed")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that were sent, instead of their being sent."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def null_model() -> Model:
    return load("null", weights="random", labels="imagenet", size=(4, 4), preprocessing="auto", threads=1)


def test_without_the_variable_nothing_happens_and_the_model_is_the_same(killed: list[tuple[int, int]]) -> None:
    faults, model = Faults(""), null_model()
    for point in POINTS:
        faults.at(point)
    assert killed == []
    assert faults.in_model(model) is model


def test_a_model_turns_wrong_at_the_call_that_is_named() -> None:
    model = null_model()
    wrong, pixels = Faults("wrong=3").in_model(model), model.batch_of([IMAGE])
    right = model.predict(pixels)
    assert [bool((wrong.predict(pixels) == right).all()) for _ in range(4)] == [True, True, False, False]


def test_a_model_has_lanes_only_where_that_is_asked_for() -> None:
    assert not Faults("slow=0.01").in_model(null_model()).has_lanes
    assert Faults("lanes").in_model(null_model()).has_lanes
    assert Faults("lanes slow=0.01").in_model(null_model()).has_lanes


def test_a_crash_comes_at_its_point_only(killed: list[tuple[int, int]]) -> None:
    faults = Faults("crash=claimed")
    faults.at("rung")
    assert killed == []
    faults.at("claimed")
    assert killed == [(os.getpid(), signal.SIGKILL)]
    faults.at("claimed")
    assert len(killed) == 1, "once, even where the process outlives it"


def test_a_crash_comes_the_time_and_with_the_signal_that_are_named(killed: list[tuple[int, int]]) -> None:
    faults = Faults("crash=predicted:3:STOP")
    for _ in range(2):
        faults.at("predicted")
    assert killed == []
    faults.at("predicted")
    assert killed == [(os.getpid(), signal.SIGSTOP)]


def test_an_image_of_a_class_kills_and_one_of_another_raises(killed: list[tuple[int, int]]) -> None:
    model, found = null_model(), null_class(IMAGE)
    Faults(f"kill={found}").in_model(model).classify(model.batch_of([IMAGE]), [1])
    assert killed == [(os.getpid(), signal.SIGKILL)]
    with pytest.raises(RuntimeError, match=f"class {found}"):
        Faults(f"kill={found + 1} raise={found}").in_model(model).classify(model.batch_of([IMAGE]), [1])


def test_other_images_get_the_models_own_answer() -> None:
    model, found = null_model(), null_class(IMAGE)
    faulty = Faults(f"raise={(found + 1) % 1000}").in_model(model)
    images = model.batch_of([IMAGE])
    assert faulty.classify(images, [1]) == model.classify(images, [1])


def test_slow_takes_its_time_for_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(faults_module.time, "sleep", slept.append)
    faults, pixels = Faults("slow=0.02"), np.zeros((3, 4, 4, 3), np.uint8)
    faults.in_model(null_model()).predict(pixels)
    assert not any(slept)
    slept.clear()
    faults.at("claimed")
    faults.in_model(null_model()).predict(pixels)
    assert slept == [0.02] * 3


def test_slower_begins_with_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(faults_module.time, "sleep", slept.append)
    faults, pixels = Faults("slower=2:3 slow=0.02"), np.zeros((1, 4, 4, 3), np.uint8)
    faults.at("claimed")
    model = faults.in_model(null_model())
    for _ in range(4):
        model.predict(pixels)
    assert slept == pytest.approx([0.02, 0.02, 0.06, 0.06])


@pytest.mark.parametrize(
    "text", ["crush=claimed", "kill=castle", "crash=claimed:often", "crash=claimed:1:NONE", "slow=", "slower=3"]
)
def test_what_is_not_understood_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="TEST_FAULTS"):
        Faults(text)
