"""Models of Keras: an application by its name or somebody's own file, its preprocessing, its labels, its weights."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from imagequeue import download, efficientnetlite, imagenetlabels
from imagequeue.errors import ConfigurationError, WeightsMissing
from imagequeue.kerashome import RESNET50_FILE, downloads, home
from imagequeue.runtimes import Preprocess


def fetch(name: str, weights: str) -> None:
    """Download what building `name` will need, and show how far it is. Raises WeightsMissing."""
    build(name, weights, "auto")


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
    if weights == "imagenet" and is_packaged(name):
        return construct(weights="imagenet"), "imagenet", preprocess
    if weights == "imagenet":
        with _downloading(f"the ImageNet weights of {name}", RESNET50_FILE):
            return construct(weights="imagenet"), "imagenet", preprocess
    if not Path(weights).is_file():
        raise WeightsMissing(
            f"MODEL_WEIGHTS: there is no file {weights}.\n"
            "Name an .h5, .weights.h5 or .keras file, or `imagenet` to download, or `random` to try the speed."
        )
    try:
        if is_packaged(name) and weights.endswith(".pth"):
            return construct(weights=weights), Path(weights).name, preprocess
        model = construct(weights=None)
        model.load_weights(weights)
    except Exception as error:
        raise ConfigurationError(f"MODEL_WEIGHTS: {weights} does not fit {name}: {error}") from error
    return model, Path(weights).name, preprocess


def _application(name: str) -> tuple[Any, ModuleType]:
    """The constructor of the application of that name, and the module with its preprocess_input."""
    import keras

    if is_packaged(name):
        return efficientnetlite.EfficientNetLite0, efficientnetlite
    wanted = _plain(name)
    known = [efficientnetlite.NAME]
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
        f"MODEL: {name!r} is no application, no .keras file, and not `null`. Applications: "
        + ", ".join(sorted(set(known)))
    )


def is_packaged(name: str) -> bool:
    """Whether that model's ImageNet weights come from a package and are never downloaded."""
    return _plain(name) == _plain(efficientnetlite.NAME)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


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


def labels_of(labels: str, classes: int) -> tuple[str, ...]:
    """One for each of `classes` outputs. Raises ConfigurationError."""
    if labels == "imagenet":
        if classes != 1000:
            raise ConfigurationError(
                f"MODEL_LABELS: the model has {classes} outputs and ImageNet 1000 labels. Name a text file with "
                "one label a line."
            )
        return imagenetlabels.read()
    try:
        lines = tuple(Path(labels).read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"MODEL_LABELS: {labels} cannot be read: {error}") from error
    if len(lines) != classes:
        raise ConfigurationError(f"MODEL_LABELS: {labels} has {len(lines)} lines, the model {classes} outputs.")
    return lines


@contextmanager
def _downloading(what: str, usual_file: str) -> Iterator[None]:
    """One process at a time, with limits on waiting; turns a failure into advice."""
    with download.bounded() as opener:
        try:
            with _alone():
                yield
        except Exception as error:
            raise WeightsMissing(_advice(what, (opener.files or [usual_file])[-1], error)) from error


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


def _advice(what: str, file: str, error: Exception) -> str:
    import keras

    folder = downloads()
    may_write = os.access(folder if folder.exists() else folder.parent, os.W_OK)
    return (
        f"{what} cannot be had: {error}\n"
        f"Keras {keras.__version__} downloads them once, with internet. For a machine without, put this file, copied "
        f"from a machine that has it, into {folder}:\n"
        f"  {file}\n"
        + (
            ""
            if may_write
            else "Keras passes over that folder while it may not write there; KERAS_HOME names another.\n"
        )
        + "or name another file of weights in MODEL_WEIGHTS. MODEL=efficientnet-lite0 needs no download. To try the "
        "speed without any weights, set MODEL_WEIGHTS=random: its labels mean nothing."
    )
