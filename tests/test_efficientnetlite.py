"""EfficientNet-Lite0 out of its package: right about photographs, alike in every runtime, strict about its weights."""

from __future__ import annotations

import importlib.util
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagequeue import efficientnetlite, imagenetlabels, images, kerasmodel, torcharchive
from imagequeue import model as models
from imagequeue.errors import ConfigurationError, WeightsMissing
from tests.support.system import IMAGES, ROOT
from tests.support.torcharchives import archive, tensor

SIZE = (224, 224)
# Measured with Keras directly; each is what the photograph shows.
PHOTOGRAPHS = {
    "banana.jpg": ("banana", 0.9852),
    "castle_image.jpg": ("castle", 0.9319),
    "cat_720p.jpg": ("Egyptian_cat", 0.3636),
    "chelsea.png": ("Egyptian_cat", 0.7703),
    "coffee.png": ("espresso", 0.9005),
    "crocodile.jpg": ("African_crocodile", 0.8006),
    "jemma.png": ("beagle", 0.9497),
    "orange.jpg": ("orange", 0.8503),
    "polar_bear.jpg": ("ice_bear", 0.8914),
    "vulture.jpeg": ("vulture", 0.9543),
}
SAMPLES = {
    "clock.png": ("wall_clock", 0.5824),
    "crossword.png": ("crossword_puzzle", 0.9955),
    "maze.png": ("maze", 0.9729),
    "traffic_light.png": ("traffic_light", 0.7384),
    "umbrella.png": ("umbrella", 0.7737),
}
RUNTIMES = [
    "tensorflow",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"),
    ),
]


def pixels_of(file: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = images.decode(file.read_bytes(), size=SIZE, max_bytes=1 << 24, max_pixels=10**8)
    return np.frombuffer(pixels, np.uint8).reshape(1, *SIZE, 3)


@pytest.fixture(scope="module")
def keras_model() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return efficientnetlite.EfficientNetLite0()


@pytest.fixture(scope="module")
def tensors() -> torcharchive.Tensors:
    return torcharchive.read(efficientnetlite.weights_file())


def built(weights: str) -> tuple[Any, str]:
    """Keras's model with those weights, and what they are called."""
    model, source, preprocess = kerasmodel.build("efficientnet-lite0", weights, "auto")
    assert preprocess is efficientnetlite.preprocess_input
    return model, source


def direct(keras_model: Any, pixels: Any) -> Any:
    """The probabilities that Keras itself gives, without any runtime of this project."""
    return np.asarray(keras_model((pixels.astype(np.float32) - 127) / 128, training=False))[0]


def test_it_has_as_many_parameters_as_the_papers_network_and_takes_every_tensor_of_the_archive(
    keras_model: Any, tensors: torcharchive.Tensors
) -> None:
    assert keras_model.count_params() == 4_694_024
    kept = [tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")]
    assert (len(kept), sum(tensor.size for tensor in kept)) == (len(keras_model.variables), 4_694_024)


@pytest.mark.skipif(not IMAGES.is_dir(), reason="no photographs in shared/ beside the project")
def test_keras_itself_names_the_ten_photographs(keras_model: Any) -> None:
    labels = imagenetlabels.read()
    for name, (label, probability) in PHOTOGRAPHS.items():
        probabilities = direct(keras_model, pixels_of(IMAGES / name))
        assert labels[probabilities.argmax()] == label, name
        assert probabilities.max() == pytest.approx(probability, abs=1e-3), name


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_gives_what_keras_itself_gives(
    keras_model: Any, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TensorFlow sizes its pools once in a process, which these tests share.
    monkeypatch.setattr("imagequeue.runtimes.tensorflow.prepare", lambda threads, precision: None)
    model = models.load(
        "efficientnet-lite0",
        weights="imagenet",
        labels="imagenet",
        size=SIZE,
        preprocessing="auto",
        threads=2,
        runtime=runtime,
    )
    files = [ROOT / "samples" / name for name in SAMPLES]
    files += [IMAGES / name for name in PHOTOGRAPHS] if IMAGES.is_dir() else []
    wanted = list((SAMPLES | PHOTOGRAPHS).values())
    batch = np.concatenate([pixels_of(file) for file in files])
    for row, best, file, (label, probability) in zip(
        model.predict(batch), model.classify(batch, [1] * len(batch)), files, wanted, strict=False
    ):
        np.testing.assert_allclose(row, direct(keras_model, pixels_of(file)), atol=1e-5)
        assert best[0].label == label, file
        assert best[0].probability == pytest.approx(probability, abs=1e-3), file
    assert (model.name, model.weights, len(model.labels)) == ("efficientnet-lite0", "imagenet", 1000)


def test_it_answers_to_its_name_in_any_form_and_lends_its_preprocessing() -> None:
    for name in ("EfficientNetLite0", "efficientnet_lite0", "efficientnet-lite0"):
        assert kerasmodel._application(name) == (efficientnetlite.EfficientNetLite0, efficientnetlite)
    assert kerasmodel._preprocess("efficientnet-lite0")(np.array([127.0, 255.0])).tolist() == [0.0, 1.0]


def test_random_weights_are_called_so(keras_model: Any) -> None:
    model, source = built("random")
    assert source == "random"
    pixels = pixels_of(ROOT / "samples" / "crossword.png")
    assert direct(model, pixels).max() < 0.1 < direct(keras_model, pixels).max()


def test_other_files_of_weights_are_taken_if_they_fit(keras_model: Any, tmp_path: Path) -> None:
    keras_model.save_weights(tmp_path / "own.weights.h5")
    pixels = pixels_of(ROOT / "samples" / "crossword.png")
    for file in (tmp_path / "own.weights.h5", efficientnetlite.weights_file()):
        model, source = built(str(file))
        assert source == file.name
        np.testing.assert_allclose(direct(model, pixels), direct(keras_model, pixels), atol=1e-5)
    (tmp_path / "other.pth").write_bytes(archive({"_fc.bias": tensor(np.zeros(1000, np.float32), "1")}))
    with pytest.raises(ConfigurationError, match=r"MODEL_WEIGHTS: .*other\.pth does not fit efficientnet-lite0: .*bn0"):
        built(str(tmp_path / "other.pth"))


def without(tensors: torcharchive.Tensors, name: str) -> torcharchive.Tensors:
    return {key: value for key, value in tensors.items() if key != name}


def test_an_archive_that_lacks_a_tensor_or_has_one_too_many_or_of_another_shape_is_refused(
    keras_model: Any, tensors: torcharchive.Tensors
) -> None:
    kernel = tensors["_blocks.3._depthwise_conv.weight"]
    wrong = [
        (without(tensors, "_blocks.3._bn1.running_var"), r"nothing for blocks\.3\.bn1/moving_variance$"),
        (tensors | {"_blocks.16._bn1.weight": kernel}, r"no place for '_blocks\.16\._bn1\.weight'"),
        (tensors | {"_blocks.3._bn1.scale": kernel}, r"no place for '_blocks\.3\._bn1\.scale'"),
        (tensors | {"blocks.3._bn1.weight": tensors["_blocks.3._bn1.weight"]}, "no place for 'blocks.3._bn1.weight'"),
        (tensors | {"nowhere.num_batches_tracked": kernel}, "no place for 'nowhere"),
        (tensors | {"_blocks.3._depthwise_conv.weight": kernel[:, :, 0]}, r"weight' has the shape \(144, 1, 5\)"),
        (tensors | {"_conv_head.weight": tensors["_conv_head.weight"].T}, "weight' has the shape"),
    ]
    for given, said in wrong:
        with pytest.raises(ConfigurationError, match=said):
            efficientnetlite._assign(keras_model, given, Path("some.pth"))


@pytest.mark.parametrize("has_package", [False, True])
def test_without_the_package_or_its_file_the_way_to_install_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_package: bool
) -> None:
    class Distribution:
        def locate_file(self, path: str) -> Path:
            return tmp_path / path

    def distribution(name: str) -> Distribution:
        if not has_package:
            raise metadata.PackageNotFoundError(name)
        return Distribution()

    monkeypatch.setattr(metadata, "distribution", distribution)
    with pytest.raises(WeightsMissing, match=r"pytorch-model is not installed.\nInstall it: .* -m pip"):
        efficientnetlite.weights_file()
