"""The folded graph gives what Keras gives, without the passes that were folded; what is not of that form stays."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from imagequeue.runtimes import Pixels, Plan, Predict, Preprocess, folding

pytest.importorskip("openvino")

SIZE = (32, 24)


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(1)
    return keras


def folded(model: Any, preprocess: Preprocess) -> tuple[Predict, list[str]]:
    """What the model answers, compiled as a worker does it, and the kinds of operations in its graph."""
    from imagequeue.runtimes import openvino

    _, height, width, _ = model.input_shape
    plan = Plan((width, height), threads=2, precision="float32")
    graph = openvino.convert(model, preprocess, plan)
    return openvino.compile_graph(graph, plan), [node.get_type_name() for node in graph.get_ops()]


def pixels_for(model: Any) -> Pixels:
    """Two images of coloured stripes with noise on them: noise alone is grey to a model that averages."""
    random = np.random.default_rng(2)
    shape = (2, *model.input_shape[1:])
    stripes = random.integers(0, 200, (2, 1, model.input_shape[2], 3))
    return (stripes + random.integers(0, 56, shape)).astype(np.uint8)


def answers_of(model: Any, preprocess: Preprocess, pixels: Pixels) -> Any:
    """What Keras gives, unfolded."""
    import tensorflow as tf

    return np.asarray(model(preprocess(tf.constant(pixels, tf.float32)), training=False))


def small_model(keras: Any, *, activation: str | None = "relu", padding: Any = ((1, 0), (0, 1))) -> Any:
    """The stem of a ResNet, and a head whose probabilities are far from 0 and 1."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIZE[1], SIZE[0], 3)),
            layers.ZeroPadding2D(3),
            layers.Conv2D(16, 7, strides=2),
            layers.BatchNormalization(),
            layers.Activation(activation),
            layers.ZeroPadding2D(padding),
            layers.MaxPooling2D(3, strides=2),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3)),
        ]
    )


def test_a_small_model_gives_the_same_without_a_pass_for_channels_and_paddings(keras: Any) -> None:
    model, preprocess = small_model(keras), keras.applications.resnet50.preprocess_input
    predict, kinds = folded(model, preprocess)
    pixels = pixels_for(model)
    wanted = answers_of(model, preprocess, pixels)
    assert np.abs(predict(pixels) - wanted).max() < 1e-5
    # So that a reversal too few or too many would have been seen.
    assert np.abs(predict(pixels[..., ::-1]) - wanted).max() > 1e-2
    assert not {"Pad", "StridedSlice", "Gather", "Concat"} & set(kinds)


@pytest.mark.slow
def test_resnet50_gives_the_same_without_a_pass_for_channels_and_paddings(keras: Any) -> None:
    model, preprocess = keras.applications.ResNet50(weights=None), keras.applications.resnet50.preprocess_input
    pixels = pixels_for(model)
    # Fresh weights let the values grow from block to block until one class has it all; the last layer takes that back.
    last = model.layers[-1]
    values = answers_of(keras.Model(model.input, last.input), preprocess, pixels)
    kernel, bias = last.get_weights()
    last.set_weights([kernel / (values @ kernel).std(), bias])
    predict, kinds = folded(model, preprocess)
    wanted = answers_of(model, preprocess, pixels)
    assert np.abs(predict(pixels) - wanted).max() < 1e-5
    assert np.abs(predict(pixels[..., ::-1]) - wanted).max() > 1e-3
    assert not {"Pad", "StridedSlice", "Gather", "Concat"} & set(kinds)


@pytest.mark.parametrize(
    "stem",
    [{"activation": None}, {"activation": "tanh"}, {"padding": 3}],
    ids=["linear", "tanh", "nothing but padding"],
)
def test_a_pool_that_may_find_less_than_zero_keeps_its_zeros(keras: Any, stem: dict[str, Any]) -> None:
    model, preprocess = small_model(keras, **stem), keras.applications.resnet50.preprocess_input
    predict, kinds = folded(model, preprocess)
    pixels = pixels_for(model)
    assert np.abs(predict(pixels) - answers_of(model, preprocess, pixels)).max() < 1e-5
    assert kinds.count("Pad") == 1


def test_an_image_that_more_than_a_convolution_sees_is_still_reversed(keras: Any) -> None:
    layers = keras.layers
    image = keras.Input((SIZE[1], SIZE[0], 3))
    seen = [layers.Conv2D(4, 3)(image), layers.Conv2D(4, 5)(image), layers.AveragePooling2D(2)(image)]
    joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(x) for x in seen])
    head = layers.Dense(5, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-2))
    model, preprocess = keras.Model(image, head(joined)), keras.applications.vgg16.preprocess_input
    predict, _ = folded(model, preprocess)
    pixels = pixels_for(model)
    assert np.abs(predict(pixels) - answers_of(model, preprocess, pixels)).max() < 1e-5


@pytest.mark.parametrize("name", ["resnet50", "vgg16"])
def test_keras_reversal_becomes_a_gather_and_gives_the_same_to_the_last_bit(keras: Any, name: str) -> None:
    import tensorflow as tf

    preprocess = getattr(keras.applications, name).preprocess_input
    pixels = np.random.default_rng(3).integers(0, 256, (2, SIZE[1], SIZE[0], 3)).astype(np.float32)
    gather = folding.reversal_as_gather(preprocess, SIZE)
    assert gather is not preprocess
    assert np.array_equal(gather(tf.constant(pixels)), preprocess(tf.constant(pixels)))


OTHERS: dict[str, Preprocess] = {
    "nothing": lambda x: x,
    "constants without a reversal": lambda x: x - 103.939,
    "a scale": lambda x: x[..., ::-1] / 255,
    "a turn of the channels": lambda x: np.roll(x, 1, axis=-1),
    "an image upside down": lambda x: x[:, ::-1, :, ::-1],
    "the brightest pixel": lambda x: x[..., ::-1] - (np.max(x) - 255),
    "a clip": lambda x: np.maximum(x[..., ::-1], 1),
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_preprocessing_is_left_alone(name: str) -> None:
    assert folding.reversal_as_gather(OTHERS[name], SIZE) is OTHERS[name]


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet"])
def test_kerass_other_preprocessings_are_left_alone(keras: Any, name: str) -> None:
    preprocess = getattr(keras.applications, name).preprocess_input
    assert folding.reversal_as_gather(preprocess, SIZE) is preprocess
