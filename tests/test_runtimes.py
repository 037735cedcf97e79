"""Every runtime gives what the reference gives; what cannot be had is said with the way out."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from imagequeue import runtimes
from imagequeue.errors import ConfigurationError
from imagequeue.runtimes import Plan
from tests.support.system import ROOT

SIZE = (32, 24)


@pytest.fixture(scope="module")
def keras_model():  # type: ignore[no-untyped-def]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((SIZE[1], SIZE[0], 3)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def plan(precision: str = "float32", calibration: str = "", threads: int = 1) -> Plan:
    return Plan(SIZE, threads=threads, precision=precision, calibration=calibration)


def batch(count: int) -> runtimes.Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE[1], SIZE[0], 3), dtype=np.uint8)


def preprocess(pixels):  # type: ignore[no-untyped-def]
    return pixels / 127.5 - 1.0


def compile_model(engine, keras_model, plan: Plan) -> runtimes.Predict:  # type: ignore[no-untyped-def]
    return engine.compile_graph(engine.convert(keras_model, preprocess, plan), plan)


def expected(keras_model, pixels):  # type: ignore[no-untyped-def]
    return np.asarray(keras_model(preprocess(pixels.astype(np.float32)), training=False))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", runtimes.NAMES)
def test_a_compiled_model_gives_what_keras_gives_for_every_batch_size(name: str, threads: int, keras_model) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip(name)
    engine = importlib.import_module(f"imagequeue.runtimes.{name}")
    predict = compile_model(engine, keras_model, plan(threads=threads))
    for count in (1, 2, 5, 16, 1):
        pixels = batch(count)
        found = predict(pixels)
        assert (found.shape, found.dtype) == ((count, 10), np.float32)
        assert np.abs(found - expected(keras_model, pixels)).max() < 1e-5


def test_openvino_converts_where_its_own_look_at_tensorflow_fails(
    keras_model,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    utils = pytest.importorskip("openvino.frontend.tensorflow.utils")
    engine = importlib.import_module("imagequeue.runtimes.openvino")

    def fails(framework: str) -> None:
        # As on Python 3.13.
        raise NameError("name 'tensorflow' is not defined")

    monkeypatch.setattr(utils, "get_environment_setup", fails)
    monkeypatch.setattr(engine, "sys", SimpleNamespace(version_info=(3, 13), modules=sys.modules))
    predict = compile_model(engine, keras_model, plan())
    pixels = batch(2)
    assert np.abs(predict(pixels) - expected(keras_model, pixels)).max() < 1e-5


@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_takes_two_batches_at_the_same_time(threads: int, keras_model) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("openvino")
    from imagequeue.runtimes import openvino

    assert openvino.HAS_LANES
    predict = compile_model(openvino, keras_model, plan(threads=threads))
    batches = [batch(count) for count in (1, 1, 16, 1, 16, 16, 2, 1) * 20]
    with ThreadPoolExecutor(2) as pool:
        for pixels, found in zip(batches, pool.map(predict, batches), strict=True):
            assert np.abs(found - expected(keras_model, pixels)).max() < 1e-5


def test_openvino_reports_to_nobody() -> None:
    pytest.importorskip("openvino")
    # In a process that has not imported it already.
    program = (
        "from imagequeue.runtimes import openvino; openvino._library(); "
        "import openvino.tools.ovc.telemetry_utils as used; print(used.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"


def test_openvinos_answers_are_not_overwritten_by_the_next_call(keras_model) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("openvino")
    from imagequeue.runtimes import openvino

    predict = compile_model(openvino, keras_model, plan())
    first = predict(batch(2))
    before = first.copy()
    predict(batch(2)[::-1])
    assert (first == before).all()


def test_bfloat16_is_near_where_the_processor_has_it_and_refused_elsewhere(keras_model) -> None:  # type: ignore[no-untyped-def]
    library = pytest.importorskip("openvino")
    from imagequeue.runtimes import openvino

    if "BF16" not in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ConfigurationError, match="does not compute bfloat16"):
            compile_model(openvino, keras_model, plan("bfloat16"))
        return
    predict = compile_model(openvino, keras_model, plan("bfloat16"))
    pixels = batch(4)
    assert np.abs(predict(pixels) - expected(keras_model, pixels)).max() < 0.05


def test_int8_without_images_says_what_it_takes(keras_model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("openvino")
    pytest.importorskip("nncf", reason="nncf is not installed: 300 MB that only int8 needs")
    from imagequeue.runtimes import openvino

    with pytest.raises(ConfigurationError, match="CALIBRATION_IMAGES"):
        compile_model(openvino, keras_model, plan("int8", str(tmp_path / "none")))


def test_a_machine_without_a_gpus_driver_is_not_asked_by_tensorflow_and_one_with_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("imagequeue.runtimes.tensorflow.has_gpu", lambda: asked.append(True) or True)
    monkeypatch.setattr(runtimes.sys, "platform", "linux")
    monkeypatch.setattr(runtimes, "GPU_DEVICES", (str(tmp_path / "none"),))
    assert not runtimes._has_gpu()
    assert not asked
    monkeypatch.setattr(runtimes, "GPU_DEVICES", (str(tmp_path / "none"), str(tmp_path)))
    assert runtimes._has_gpu()
    assert asked


def test_a_graph_that_was_written_and_read_gives_the_very_same_answers(keras_model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("openvino")
    from imagequeue.runtimes import openvino

    graph = openvino.convert(keras_model, preprocess, plan())
    openvino.write(graph, tmp_path / openvino.GRAPH_FILE)
    again = openvino.compile_graph(openvino.read(tmp_path / openvino.GRAPH_FILE), plan())
    assert np.array_equal(again(batch(3)), openvino.compile_graph(graph, plan())(batch(3)))


def test_auto_prefers_openvino_on_a_processor_and_tensorflow_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes.util, "find_spec", lambda name: object())
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: False)
    assert runtimes.choose("auto", "float32") == "openvino"
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: True)
    assert runtimes.choose("auto", "float32") == "tensorflow"
    assert runtimes.choose("openvino", "float32") == "openvino"


def test_without_openvino_auto_is_tensorflow_and_naming_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtimes.util, "find_spec", lambda name: None)
    assert runtimes.choose("auto", "float32") == "tensorflow"
    for runtime, precision in (("openvino", "float32"), ("auto", "int8")):
        with pytest.raises(ConfigurationError, match="pip install openvino"):
            runtimes.choose(runtime, precision)
