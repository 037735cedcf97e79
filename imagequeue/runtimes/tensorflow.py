"""TensorFlow: one frozen graph from uint8 pixels to probabilities. The reference for every other runtime."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from imagequeue.runtimes import Pixels, Plan, Predict, Preprocess, Probabilities

# A frozen graph is kept nowhere: nearly all of a start is TensorFlow itself.
GRAPH_FILE = ""
# A graph has all threads; two would wait for each other.
HAS_LANES = False


def has_gpu() -> bool:
    return bool(_tensorflow().config.list_physical_devices("GPU"))


def prepare(threads: int, precision: str) -> None:
    """Call before anything else of TensorFlow computes: it sizes its pools once, when it is first used."""
    tf = _tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # ResNet's layers follow one another; a second pool would only take time from the first.
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for device in tf.config.list_physical_devices("GPU"):
        # Several workers may share a GPU, which one would otherwise take whole.
        tf.config.experimental.set_memory_growth(device, True)
    if precision == "bfloat16":
        if has_gpu():
            import keras

            keras.config.set_dtype_policy("mixed_bfloat16")
        else:
            # The weights stay float32; oneDNN computes convolutions in bfloat16 where the processor has it.
            tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def convert(model: Any, preprocess: Preprocess, plan: Plan) -> Any:
    """Freeze `model` behind its preprocessing.

    Constants instead of variables let the optimizer fold the batch normalisation into the convolutions.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(trace(model, preprocess, plan.size))


def compile_graph(graph: Any, plan: Plan) -> Predict:
    """TensorFlow itself compiles it, when it first runs."""
    tf = _tensorflow()

    def predict(pixels: Pixels) -> Probabilities:
        # Copied: what numpy is shown of a tensor is TensorFlow's memory.
        return np.array(graph(tf.constant(pixels))[0], dtype=np.float32)

    return predict


def trace(model: Any, preprocess: Preprocess, size: tuple[int, int]) -> Any:
    """The concrete function from uint8 pixels of any batch size to float32 probabilities; size is (width, height)."""
    tf = _tensorflow()
    width, height = size
    signature = tf.TensorSpec((None, height, width, 3), tf.uint8)

    @tf.function(input_signature=[signature])  # type: ignore[untyped-decorator, unused-ignore]
    def graph(pixels: Any) -> Any:
        return tf.cast(model(preprocess(tf.cast(pixels, tf.float32)), training=False), tf.float32)

    return graph.get_concrete_function()


def _tensorflow() -> Any:
    # C++ notes on which instructions the binary was built for are of no use to anyone here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    # absl puts a handler of its own on the root logger; the lines shall look like all others.
    logging.getLogger("absl").handlers.clear()
    return tf
