"""The model: its weights, its preprocessing, its labels, warmed up. The only way to Keras.

Three kinds: an application of Keras by its name, somebody's own `.keras` file, and `null`, which answers at
once from a checksum of the pixels and so shows what the service itself costs, and whether it mixes answers up.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import re
import socket
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from imagequeue import runtimes
from imagequeue.errors import ConfigurationError, WeightsMissing
from imagequeue.events import warn
from imagequeue.job import Prediction
from imagequeue.runtimes import Pixels, Predict, Preprocess, Probabilities

NULL_CLASSES = 1000
# A download that hears nothing for this long is given up; Keras itself would wait for ever.
DOWNLOAD_SILENCE_SECONDS = 30


@dataclass(frozen=True)
class Model:
    """A model ready to answer.

    weights: "imagenet", "random", or the name of the file they came from.
    size: (width, height) in pixels. labels: one for each output. predict: see runtimes.
    paces: seconds that it takes for a batch of so many images, for each power of two that it was warmed for.
    """

    name: str
    weights: str
    runtime: str
    precision: str
    size: tuple[int, int]
    labels: tuple[str, ...]
    predict: Predict
    paces: Mapping[int, float] = field(default_factory=dict)

    @property
    def pixel_bytes(self) -> int:
        """The length of one image's pixels."""
        return self.size[0] * self.size[1] * 3

    def batch_of(self, images: Sequence[bytes]) -> Pixels:
        """Stack the pixels of several images, (n, height, width, 3) uint8."""
        width, height = self.size
        return np.frombuffer(b"".join(images), dtype=np.uint8).reshape(-1, height, width, 3)

    def classify(self, pixels: Pixels, tops: Sequence[int]) -> list[tuple[Prediction, ...]]:
        """For each image of a batch its predictions, best first, as many as `tops` asks for it.

        Never traces, compiles or allocates for a new shape: the batch is cut into the sizes that were warmed. Raises
        ValueError if the model gives something for one that is no number.
        """
        parts, start = [], 0
        for size in warm_sizes(len(pixels)):
            parts.append(self.predict(pixels[start : start + size]))
            start += size
        return [self._best(row, top) for row, top in zip(np.concatenate(parts), tops, strict=True)]

    def seconds_for(self, count: int) -> float:
        """How long `classify` will take for so many images, by the pace that was measured; 0 if none was."""
        return sum(self.paces.get(size, 0.0) for size in warm_sizes(count))

    def _best(self, probabilities: Probabilities, top: int) -> tuple[Prediction, ...]:
        top = min(top, len(self.labels))
        # Of a thousand outputs only the best are sorted.
        best = np.argpartition(probabilities, -top)[-top:]
        best = best[np.argsort(probabilities[best], kind="stable")[::-1]]
        # NaN sorts last, so it would be the best; and it is no JSON.
        if not np.isfinite(probabilities[best]).all():
            raise ValueError("the model's probabilities are no numbers")
        return tuple(Prediction(self.labels[i], float(probabilities[i]), int(i)) for i in best)


def warm_sizes(count: int) -> list[int]:
    """`count` as powers of two, largest first: 13 is 8 + 4 + 1.

    So six shapes serve every batch up to 32, each warmed before the first request, and nothing is padded.
    """
    return [1 << bit for bit in range(count.bit_length() - 1, -1, -1) if count >> bit & 1]


def load(
    name: str,
    *,
    weights: str,
    labels: str,
    size: tuple[int, int],
    preprocessing: str,
    threads: int,
    runtime: str = "auto",
    precision: str = "float32",
    calibration: str = "",
) -> Model:
    """Build the model that the settings name.

    name: `null`, an application of Keras in any case (`resnet50`), or the path of a `.keras` file.
    weights: `imagenet`, `random`, or a file (`.h5`, `.weights.h5`, `.keras`); a `.keras` model has its own.
    labels: `imagenet`, or a text file with one label a line.
    size: (width, height) that the web servers send. preprocessing: `auto`, `none`, or an application's name.
    runtime, precision, calibration: see runtimes.choose and runtimes.
    Raises WeightsMissing, and ConfigurationError for what does not fit together.
    """
    if name == "null":
        names = tuple(f"null_{i}" for i in range(NULL_CLASSES))
        return Model(name, "none", "null", "none", size, names, _null_predict)
    chosen = runtimes.choose(runtime, precision)
    engine = importlib.import_module(f"imagequeue.runtimes.{chosen}")
    engine.prepare(threads, precision)
    keras_model, source, preprocess = _keras_model(name, weights, preprocessing)
    _check_shapes(keras_model, name, size)
    names = _labels(labels, int(keras_model.output_shape[-1]), must_have=weights != "random")
    plan = runtimes.Plan(size, threads, precision, calibration)
    predict: Predict = engine.compile_model(keras_model, preprocess, plan)
    return Model(Path(name).stem, source, chosen, precision, size, names, predict)


def fetch(name: str, weights: str) -> None:
    """Download what `load` will need, and show how far it is. Raises WeightsMissing."""
    _keras_model(name, weights, "auto")
    _imagenet_labels()


def _null_predict(pixels: Pixels) -> Probabilities:
    probabilities = np.zeros((len(pixels), NULL_CLASSES), np.float32)
    for row, image in zip(probabilities, pixels, strict=True):
        row[null_class(image.tobytes())] = 1.0
    return probabilities


def null_class(pixels: bytes) -> int:
    """The output that the null model gives these pixels."""
    return zlib.crc32(pixels) % NULL_CLASSES


def _keras_model(name: str, weights: str, preprocessing: str) -> tuple[Any, str, Preprocess]:
    import keras

    if name.endswith(".keras"):
        if not Path(name).is_file():
            raise ConfigurationError(f"MODEL: there is no file {name}.")
        # Built with the model and saved in it, as a rule; see docs/settings.md on MODEL_PREPROCESSING.
        preprocess = _preprocess("none" if preprocessing == "auto" else preprocessing)
        try:
            return keras.saving.load_model(name, compile=False), Path(name).name, preprocess
        except Exception as error:
            raise ConfigurationError(f"MODEL: Keras cannot load {name}: {error}") from error
    build, _ = _application(name)
    preprocess = _preprocess(name if preprocessing == "auto" else preprocessing)
    if weights == "random":
        return build(weights=None), "random", preprocess
    if weights == "imagenet":
        with _downloading(f"the ImageNet weights of {name}"):
            return build(weights="imagenet"), "imagenet", preprocess
    if not Path(weights).is_file():
        raise WeightsMissing(
            f"MODEL_WEIGHTS: there is no file {weights}.\n"
            "Name an .h5, .weights.h5 or .keras file, or `imagenet` to download, or `random` to try the speed."
        )
    model = build(weights=None)
    try:
        model.load_weights(weights)
    except Exception as error:
        raise ConfigurationError(f"MODEL_WEIGHTS: {weights} does not fit {name}: {error}") from error
    return model, Path(weights).name, preprocess


def _application(name: str) -> tuple[Any, ModuleType]:
    """The constructor of Keras's application of that name, and the module with its preprocess_input."""
    import keras

    wanted = name.lower().replace("_", "").replace("-", "")
    known = []
    for module_name in dir(keras.applications):
        module = getattr(keras.applications, module_name)
        if not isinstance(module, ModuleType) or not hasattr(module, "preprocess_input"):
            continue
        for attribute in dir(module):
            if attribute[0].isupper() and callable(getattr(module, attribute)):
                known.append(attribute.lower())
                if attribute.lower() == wanted:
                    return getattr(module, attribute), module
    raise ConfigurationError(
        f"MODEL: {name!r} is no application of Keras, no .keras file, and not `null`. Applications: "
        + ", ".join(sorted(set(known)))
    )


def _preprocess(name: str) -> Preprocess:
    if name == "none":
        return lambda pixels: pixels
    function: Preprocess = _application(name)[1].preprocess_input
    return function


def _check_shapes(model: Any, name: str, size: tuple[int, int]) -> None:
    """Raises ConfigurationError unless the model maps one RGB image of that size to one row of probabilities."""
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (3, None):
        raise ConfigurationError(f"MODEL: {name} takes {shape}; one RGB image (batch, height, width, 3) is served.")
    height, width = shape[1] or size[1], shape[2] or size[0]
    if (width, height) != size:
        raise ConfigurationError(
            f"IMAGE_SIZE: {name} takes {width} x {height} pixels. Set IMAGE_SIZE={width}x{height} for the web "
            "servers and the workers."
        )
    if not isinstance(model.output_shape, tuple) or len(model.output_shape) != 2:
        raise ConfigurationError(f"MODEL: {name} gives {model.output_shape}; (batch, classes) is served.")


def _labels(labels: str, classes: int, *, must_have: bool) -> tuple[str, ...]:
    if labels == "imagenet":
        if classes != 1000:
            raise ConfigurationError(
                f"MODEL_LABELS: the model has {classes} outputs and ImageNet 1000 labels. Name a text file with "
                "one label a line."
            )
        try:
            return _imagenet_labels()
        except WeightsMissing as error:
            if must_have:
                raise
            warn("labels_missing", reason=str(error).splitlines()[0], instead="class_0 to class_999")
            return tuple(f"class_{i}" for i in range(classes))
    try:
        lines = tuple(Path(labels).read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"MODEL_LABELS: {labels} cannot be read: {error}") from error
    if len(lines) != classes:
        raise ConfigurationError(f"MODEL_LABELS: {labels} has {len(lines)} lines, the model {classes} outputs.")
    return lines


def _imagenet_labels() -> tuple[str, ...]:
    from keras.applications import imagenet_utils

    with _downloading("ImageNet's labels"):
        # Decoding the 1000 unit vectors gives the labels in order through the public function, hash check included.
        rows = imagenet_utils.decode_predictions(np.eye(1000), top=1)
    return tuple(row[0][1] for row in rows)


@contextmanager
def _downloading(what: str) -> Iterator[None]:
    """One process at a time, with a time limit on silence; turns a failure into advice."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SILENCE_SECONDS)
    try:
        with open(Path(tempfile.gettempdir()) / f"imagequeue-download-{os.getuid()}.lock", "w") as lock:
            # Keras downloads in place: a second worker would take the first one's half for a whole.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except Exception as error:
        raise WeightsMissing(_advice(what, error)) from error
    finally:
        socket.setdefaulttimeout(before)


def _advice(what: str, error: Exception) -> str:
    import keras

    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    # Keras names the file only in the address that failed.
    files = {*re.findall(r"https?://\S+/([\w.-]+)", str(error)), "imagenet_class_index.json"}
    if len(files) == 1:
        files.add("resnet50_weights_tf_dim_ordering_tf_kernels.h5")
    return (
        f"{what} cannot be had: {error}\n"
        f"Keras {keras.__version__} downloads it once, with internet. For a machine without, put these two files, "
        f"copied from a machine that has them, into {home}:\n"
        + "".join(f"  {file}\n" for file in sorted(files, reverse=True))
        + "or name another file of weights in MODEL_WEIGHTS. To try the speed without any, set MODEL_WEIGHTS=random: "
        "its labels mean nothing."
    )
