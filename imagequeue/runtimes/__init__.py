"""Runtimes turn a Keras model into one function: a batch of pixels in, a batch of probabilities out.

Each module here has `prepare(threads, precision)`, called before anything of Keras is used, then
`convert(model, preprocess, plan)`, which gives the graph in the runtime's own form, and `compile_graph(graph, plan)`.
If its GRAPH_FILE is not empty, `write(graph, file)` and `read(file)` keep the graph under that name, so that the next
process can do without the first two. HAS_LANES says whether the function cuts batches for lanes of its own that compute
side by side: then any size is as good, several threads may give it a batch at the same time, and gain by it. TensorFlow
is the reference; OpenVINO is faster on a CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagequeue.errors import ConfigurationError

Pixels = npt.NDArray[np.uint8]
"""(batch, height, width, 3), RGB, 0 to 255."""

Probabilities = npt.NDArray[np.float32]
"""(batch, classes), 0 to 1."""

Predict = Callable[[Pixels], Probabilities]

Preprocess = Callable[[Any], Any]
"""What the model wants done to float32 pixels of 0 to 255 first, in operations that the runtime can trace."""

NAMES = ("tensorflow", "openvino")

# What the drivers of NVIDIA, of AMD, of Windows's Linux and of NVIDIA's small boards make; without any there is no GPU.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu")


@dataclass(frozen=True)
class Plan:
    """How to compile: size is (width, height); threads of the processor; calibration, for int8, a folder of images."""

    size: tuple[int, int]
    threads: int
    precision: str
    calibration: str = ""


def choose(wanted: str, precision: str) -> str:
    """The runtime for `auto`: TensorFlow where it sees a GPU, else OpenVINO where it is installed, else TensorFlow.

    Raises ConfigurationError for what is not installed or cannot do the precision.
    """
    is_installed = util.find_spec("openvino") is not None
    if wanted == "openvino" and not is_installed:
        raise ConfigurationError(
            f"RUNTIME: openvino is not installed. Install it: {sys.executable} -m pip install openvino"
        )
    if precision == "int8" and (wanted == "tensorflow" or not is_installed):
        raise ConfigurationError(
            f"PRECISION: int8 takes RUNTIME=openvino. Install it: {sys.executable} -m pip install openvino nncf"
        )
    if wanted != "auto":
        return wanted
    if precision != "int8" and (not is_installed or _has_gpu()):
        return "tensorflow"
    return "openvino"


def _has_gpu() -> bool:
    # TensorFlow takes four seconds to say that there is none.
    if sys.platform == "linux" and not any(Path(device).exists() for device in GPU_DEVICES):
        return False
    from imagequeue.runtimes import tensorflow

    return tensorflow.has_gpu()
