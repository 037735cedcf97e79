"""OpenVINO: the fastest way on a CPU, in float32, in bfloat16 where the processor has it, in int8 by calibration.

Keras's graph comes through TensorFlow, which is needed to read the weights and idle afterwards; a graph that was kept
(see graphstore) comes without.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from imagequeue import images
from imagequeue.errors import ConfigurationError, ImageQueueError
from imagequeue.events import log, warn
from imagequeue.runtimes import Pixels, Plan, Predict, Preprocess, Probabilities, folding
from imagequeue.runtimes import tensorflow as reference
from imagequeue.runtimes.lanes import PART, Lanes

# More images move the calibrated ranges of a ResNet50 hardly at all (NNCF's own default, too).
MOST_CALIBRATION_IMAGES = 300
FEWEST_CALIBRATION_IMAGES = 10
GRAPH_FILE = "graph.xml"
HAS_LANES = True
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def prepare(threads: int, precision: str) -> None:
    """TensorFlow only traces here, whatever the precision. Raises ConfigurationError for one that this processor does
    not give: better before the work than after it.
    """
    _core_for(precision)
    reference.prepare(threads, "float32")


def convert(model: Any, preprocess: Preprocess, plan: Plan) -> Any:
    """Raises ConfigurationError for int8 that this folder of images does not give."""
    preprocess = folding.reversal_as_gather(preprocess, plan.size)
    traced = reference.trace(model, preprocess, plan.size)
    _tell_tensorflows_version()
    # By default the graph's constants are TensorFlow's own buffers, which nothing keeps: the next full garbage
    # collection frees them, and every answer after it is wrong.
    graph = folding.pad_in_pools(_library().convert_model(traced, share_weights=False))
    return _quantized(graph, plan) if plan.precision == "int8" else graph


def write(graph: Any, file: Path) -> None:
    """Two files: `file`, and the weights beside it, in full: by default half of their bits are left out."""
    _library().save_model(graph, file, compress_to_fp16=False)


def read(file: Path) -> Any:
    return _library().Core().read_model(file)


def compile_graph(graph: Any, plan: Plan) -> Predict:
    """Raises ConfigurationError for a precision that this processor does not give."""
    core = _core_for(plan.precision)
    lanes = Lanes(_compiled(core, graph, plan, streams=plan.threads))
    _warm(lanes.predict_part, PART, plan)
    if lanes.count == 1:
        return lanes.predict
    (together,) = _compiled(core, graph, plan, streams=1)
    _warm(together, lanes.count - 1, plan)
    one_at_a_time = threading.Lock()

    def predict(pixels: Pixels) -> Probabilities:
        if len(pixels) >= lanes.count or lanes.are_busy:
            return lanes.predict(pixels)
        # So few would leave lanes idle, and nobody else is there for them.
        with one_at_a_time:
            return together(pixels)

    return predict


def _compiled(core: Any, graph: Any, plan: Plan, *, streams: int) -> list[Predict]:
    """One function for each stream; the threads are shared out among the streams, and so is one copy of the weights."""
    compiled = core.compile_model(
        graph,
        "CPU",
        {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": plan.threads,
            # Two workers would be pinned to the same processors; and pinned threads cannot step aside for a web server.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _HINTS[plan.precision],
        },
    )
    # The runtime may give fewer than it is asked for: no more than there are processors.
    return [_predict_of(compiled.create_infer_request()) for _ in range(compiled.get_property("NUM_STREAMS"))]


def _warm(predict: Predict, most: int, plan: Plan) -> None:
    """Each shape of up to `most` images that warm-up, which gives powers of two, leaves out: no request pays for it."""
    width, height = plan.size
    for size in range(3, most + 1):
        if size.bit_count() > 1:
            predict(np.zeros((size, height, width, 3), np.uint8))


def _predict_of(request: Any) -> Predict:
    # Copied: the next call writes its results to the same place.
    return lambda pixels: np.array(request.infer({0: pixels})[0], dtype=np.float32)


def _core_for(precision: str) -> Any:
    """Raises ConfigurationError for a precision that this processor does not give."""
    core = _library().Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigurationError("PRECISION: this processor does not compute bfloat16; float32 is the way here.")
    return core


def _library() -> Any:
    """OpenVINO without its telemetry: `convert_model` reports to its makers, from a process that it forks in the midst
    of threads. Without internet such a process may stay for ever.
    """
    # What stands for a module that must not be imported; OpenVINO then takes a stub that does nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _tell_tensorflows_version() -> None:
    """OpenVINO asks for it in a way that fails since Python 3.13: a name that `exec` has bound in a function is not
    there for the next one, which deletes it.
    """
    if sys.version_info >= (3, 13):
        from openvino.frontend.tensorflow import utils

        utils.get_environment_setup = lambda framework: {"tensorflow": metadata.version("tensorflow")}


def _quantized(graph: Any, plan: Plan) -> Any:
    """The graph with int8 weights and activations, their ranges taken from the user's own images."""
    try:
        import nncf
    except ImportError as error:
        raise ConfigurationError(
            f"PRECISION: int8 takes the package nncf. Install it: {sys.executable} -m pip install nncf"
        ) from error
    batches = list(_calibration(plan))
    log("calibrating", images=len(batches), folder=plan.calibration)
    return nncf.quantize(graph, nncf.Dataset(batches), preset=nncf.QuantizationPreset.MIXED, subset_size=len(batches))


def _calibration(plan: Plan) -> Iterator[Pixels]:
    if not plan.calibration or not Path(plan.calibration).is_dir():
        raise ConfigurationError(
            "CALIBRATION_IMAGES: int8 takes a folder of images such as the model will see; "
            f"{plan.calibration or 'none'} is given."
        )
    width, height = plan.size
    found = 0
    for file in sorted(Path(plan.calibration).iterdir()):
        if found == MOST_CALIBRATION_IMAGES:
            break
        try:
            pixels = images.decode(file.read_bytes(), size=plan.size, max_bytes=2**30, max_pixels=10**9)
        except (ImageQueueError, OSError) as error:
            warn("not_calibrated_with", file=file.name, reason=str(error))
            continue
        found += 1
        yield np.frombuffer(pixels, np.uint8).reshape(1, height, width, 3)
    if found < FEWEST_CALIBRATION_IMAGES:
        raise ConfigurationError(
            f"CALIBRATION_IMAGES: {plan.calibration} has {found} readable images; int8 takes at least "
            f"{FEWEST_CALIBRATION_IMAGES}, a hundred is better."
        )
