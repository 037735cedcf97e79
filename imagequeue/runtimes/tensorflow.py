"""TensorFlow: one frozen graph from uint8 pixels to probabilities. The reference for every other runtime."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from imagequeue.runtimes import Pixels, Predict, Preprocess, Probabilities


def prepare(threads: int) -> None:
    """Call before anything else of TensorFlow: it sizes its pools once, when it is first used."""
    # C++ notes on which instructions the binary was built for are of no use to anyone here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # ResNet's layers follow one another; a second pool would only take time from the first.
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for device in tf.config.list_physical_devices("GPU"):
        # Several workers may share a GPU, which one would otherwise take whole.
        tf.config.experimental.set_memory_growth(device, True)
    # absl puts a handler of its own on the root logger; the lines shall look like all others.
    logging.getLogger("absl").handlers.clear()


def compile_model(model: Any, preprocess: Preprocess, size: tuple[int, int]) -> Predict:
    """Freeze `model` behind its preprocessing; size is (width, height).

    Constants instead of variables let the optimizer fold the batch normalisation into the convolutions.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    width, height = size
    signature = tf.TensorSpec((None, height, width, 3), tf.uint8)

    @tf.function(input_signature=[signature])  # type: ignore[untyped-decorator, unused-ignore]
    def graph(pixels: Any) -> Any:
        return model(preprocess(tf.cast(pixels, tf.float32)), training=False)

    frozen = convert_variables_to_constants_v2(graph.get_concrete_function())

    def predict(pixels: Pixels) -> Probabilities:
        return np.asarray(frozen(tf.constant(pixels))[0], dtype=np.float32)

    return predict
