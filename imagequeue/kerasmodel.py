"""Models of Keras: an application by its name or somebody's own file, its preprocessing, its labels, its weights."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from imagequeue.errors import ConfigurationError, WeightsMissing
from imagequeue.events import warn
from imagequeue.kerashome import LABELS_FILE, RESNET50_FILE, downloads, home
from imagequeue.runtimes import Preprocess

# A download that hears nothing for this long is given up; Keras itself would wait for ever.
DOWNLOAD_SILENCE_SECONDS = 30


def fetch(name: str, weights: str, labels: str) -> None:
    """Download what building `name` will need, and show how far it is. Raises WeightsMissing."""
    build(name, weights, "auto")
    if labels == "imagenet":
        _imagenet_labels()


def build(name: str, weights: str, preprocessing: str) -> tuple[Any, str, Preprocess]:
    """The model, where its weights are from, and what it wants done to the pixels first; see model.load."""
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
    construct, _ = _application(name)
    preprocess = _preprocess(name if preprocessing == "auto" else preprocessing)
    if weights == "random":
        return construct(weights=None), "random", preprocess
    if weights == "imagenet":
        with _downloading(f"the ImageNet weights of {name}", RESNET50_FILE):
            return construct(weights="imagenet"), "imagenet", preprocess
    if not Path(weights).is_file():
        raise WeightsMissing(
            f"MODEL_WEIGHTS: there is no file {weights}.\n"
            "Name an .h5, .weights.h5 or .keras file, or `imagenet` to download, or `random` to try the speed."
        )
    model = construct(weights=None)
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


def check_shapes(model: Any, name: str, size: tuple[int, int]) -> None:
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


def labels_of(labels: str, classes: int, *, must_have: bool) -> tuple[str, ...]:
    """One for each of `classes` outputs; numbers stand for ImageNet's, if they cannot be had and need not be.

    Raises ConfigurationError, and WeightsMissing.
    """
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

    with _downloading("ImageNet's labels", LABELS_FILE):
        # Decoding the 1000 unit vectors gives the labels in order through the public function, hash check included.
        rows = imagenet_utils.decode_predictions(np.eye(1000), top=1)
    return tuple(row[0][1] for row in rows)


@contextmanager
def _downloading(what: str, usual_file: str) -> Iterator[None]:
    """One process at a time, with a time limit on silence; turns a failure into advice."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SILENCE_SECONDS)
    try:
        with _alone():
            yield
    except Exception as error:
        raise WeightsMissing(_advice(what, usual_file, error)) from error
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _alone() -> Iterator[None]:
    """Keras downloads in place: a second worker would take the first one's half for a whole."""
    lock = _lock_file()
    if lock is None:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _lock_file() -> int | None:
    """In Keras's folder; where that may not be written, Keras downloads to the temporary one. None if neither may."""
    for folder, name in ((home(), "imagequeue.lock"), (Path(tempfile.gettempdir()), f"imagequeue-{os.getuid()}.lock")):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            found = os.fstat(lock)
            # Another user, who has made it first, could hold it for good.
            if found.st_uid in (0, os.geteuid()) and stat.S_ISREG(found.st_mode):
                return lock
            os.close(lock)
    return None


def _advice(what: str, usual_file: str, error: Exception) -> str:
    import keras

    folder = downloads()
    # Keras names the file only in the address that failed.
    files = {*(re.findall(r"https?://\S+/([\w.-]+)", str(error)) or [usual_file]), LABELS_FILE}
    may_write = os.access(folder if folder.exists() else folder.parent, os.W_OK)
    return (
        f"{what} cannot be had: {error}\n"
        f"Keras {keras.__version__} downloads it once, with internet. For a machine without, put what is missing of "
        f"these, copied from a machine that has them, into {folder}:\n"
        + "".join(f"  {file}\n" for file in sorted(files, reverse=True))
        + (
            ""
            if may_write
            else "Keras passes over that folder while it may not write there; KERAS_HOME names another.\n"
        )
        + "or name another file of weights in MODEL_WEIGHTS. To try the speed without any, set MODEL_WEIGHTS=random: "
        "its labels mean nothing."
    )
