"""What a convolution or a pool can do on its way, taken out of OpenVINO's graph: the same answers in fewer passes.

OpenVINO folds most by itself when it converts a model: batch normalisation, zeros padded before a convolution,
positions that the next stride skips. Of a ResNet50 it leaves two things, each a plain loop over all values:

- Keras turns RGB into BGR by three slices and a concatenation, which OpenVINO does not know for a reversal. A gather it
  does, and reverses the kernel of the first convolution instead, once.
- Zeros padded around what a ReLU gave are never above what is inside, so a maximum over both is the maximum over the
  inside, which is what a pool with padding of its own takes.

No value changes, but that a convolution sums its three channels in another order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imagequeue.runtimes import Preprocess

# All values; dark ones; none but one. What looks at the whole image, its mean or its maximum, differs between them.
_PROBES = ((0, 256), (0, 20), (200, 201))


def reversal_as_gather(preprocess: Preprocess, size: tuple[int, int]) -> Preprocess:
    """The same preprocessing, written so that OpenVINO folds it, if it is `pixels[..., ::-1] + three constants`.

    Any other is returned as it is. It is known by what it does to pixels of that size, (width, height): to the last
    bit, on noise of three kinds.
    """
    import tensorflow as tf

    width, height = size
    random = np.random.default_rng(0)

    def gives(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(preprocess(tf.constant(pixels)))

    offsets = gives(np.zeros((1, height, width, 3), np.float32))[:, :1, :1]
    for lowest, beyond in _PROBES:
        pixels = random.integers(lowest, beyond, (1, height, width, 3)).astype(np.float32)
        if not np.array_equal(gives(pixels), pixels[..., ::-1] + offsets):
            return preprocess
    return lambda pixels: tf.gather(pixels, [2, 1, 0], axis=-1) + offsets


def pad_in_pools(graph: Any) -> Any:
    """Change this OpenVINO graph so that each maximum pool pads for itself what was padded with zeros behind a ReLU."""
    for node in graph.get_ops():
        if node.get_type_name() == "MaxPool":
            _pad_in(node)
    graph.validate_nodes_and_infer_types()
    return graph


def _pad_in(pool: Any) -> None:
    pad = pool.input_value(0).get_node()
    if pad.get_type_name() != "Pad" or pad.get_attributes()["pad_mode"] != "constant":
        return
    source, *given = (port.get_source_output() for port in pad.inputs())
    # Elsewhere a value below zero would lose against the zeros, and win against the pool's padding.
    if source.get_node().get_type_name() != "Relu":
        return
    if any(port.get_node().get_type_name() != "Constant" for port in given):
        return
    begin, end, *value = (port.get_node().data for port in given)
    if any(value) or begin[:2].any() or end[:2].any():
        return
    own = pool.get_attributes()
    is_plain = own["rounding_type"] == "floor" and set(own["dilations"]) == {1}
    # A window over nothing but padding has a maximum of zero, and none at all in a pool of its own padding.
    is_narrow = all(0 <= p < k for side in (begin, end) for p, k in zip(side[2:], own["kernel"], strict=True))
    # Where the maximum was found (output 1) is counted in the padded image.
    is_asked_where = any(port.get_target_inputs() for port in pool.outputs()[1:])
    if not is_plain or not is_narrow or is_asked_where or any(own["pads_begin"]) or any(own["pads_end"]):
        return
    pool.set_attribute("auto_pad", "explicit")
    pool.set_attribute("pads_begin", begin[2:].tolist())
    pool.set_attribute("pads_end", end[2:].tolist())
    pool.input(0).replace_source_output(source)
