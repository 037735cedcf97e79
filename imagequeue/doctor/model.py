"""The model's weights and labels: there, whole, or to be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imagequeue import imagenetlabels
from imagequeue.doctor.check import OK, Check, failed, ok, warning
from imagequeue.errors import ConfigurationError
from imagequeue.kerashome import RESNET50_ADDRESS, RESNET50_FILE

# Of the file that Keras downloads.
RESNET50_BYTES = 102_967_424
_FETCH = ".venv/bin/python run_model_server.py --fetch"
# The first bytes of HDF5, and of the ZIP archive that a .keras file is.
_SIGNATURES = {".h5": b"\x89HDF\r\n\x1a\n", ".keras": b"PK\x03\x04"}


def check_weights(
    model: str,
    weights: str,
    *,
    is_named: bool,
    downloads: Path,
    why_not: Callable[[str], str],
    packaged: Callable[[], Path],
    is_packaged: Callable[[str], bool],
    install: str,
) -> Check:
    """model, weights: MODEL and MODEL_WEIGHTS. is_named: whether the user has set MODEL. downloads: Keras's folder.

    why_not: from an address to why it cannot be downloaded, empty if it can. packaged: the weights of the package that
    `make serve` falls back to; raises ConfigurationError. is_packaged: whether a model's weights are those.
    install: the line that installs packages.
    """
    if model == "null":
        return ok("model", "null: needs no weights, and its labels mean nothing")
    if model.endswith(".keras"):
        return _file("MODEL", model, model)
    if weights == "random":
        return warning("model", f"{model} with random weights: its labels mean nothing", "unset MODEL_WEIGHTS")
    if weights != "imagenet":
        return _file("MODEL_WEIGHTS", weights, f"{model} with {weights}")
    if model.lower() == "resnet50":
        fallback = None if is_named else lambda: _packaged("efficientnet-lite0", packaged, install)
        return _resnet50(downloads / RESNET50_FILE, why_not=why_not, fallback=fallback)
    if is_packaged(model):
        return _packaged(model, packaged, install)
    return _application(model, downloads)


def _file(setting: str, name: str, shown: str) -> Check:
    file, fix = Path(name), f"{setting}=/path/of/a/file that is there, or unset it"
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            begins = opened.read(8)
    except OSError as error:
        return failed("model", f"{setting}: {name} cannot be read: {error.strerror}", fix)
    signature = _SIGNATURES.get(file.suffix, b"")
    if not size or not begins.startswith(signature):
        return failed("model", f"{setting}: {name} ({size} bytes) is not a whole {file.suffix} file", fix)
    return ok("model", f"{shown} ({size / 1e6:.0f} MB)")


def _resnet50(file: Path, *, why_not: Callable[[str], str], fallback: Callable[[], Check] | None) -> Check:
    size = file.stat().st_size if file.is_file() else None
    if size == RESNET50_BYTES:
        return ok("model", f"resnet50, weights in {file.parent}")
    found, fix = f"resnet50: {file} is not there", _FETCH
    if size is not None:
        found = f"resnet50: {file} has {size} bytes instead of {RESNET50_BYTES}"
        fix = f"rm {file}; {_FETCH}"
    reason = why_not(RESNET50_ADDRESS)
    if not reason:
        return warning("model", f"{found}; the first start downloads it (100 MB)", fix)
    found += f" and cannot be downloaded ({reason})"
    fix = f"copy {RESNET50_FILE} into {file.parent}, or MODEL=efficientnet-lite0"
    # make serve looks only whether the file is there; one that is not whole would end the worker.
    if size is None and fallback is not None and fallback().status == OK:
        return warning("model", f"{found}; make serve serves efficientnet-lite0 instead", fix)
    return failed("model", found, fix)


def _packaged(model: str, packaged: Callable[[], Path], install: str) -> Check:
    try:
        file = packaged()
    except ConfigurationError as error:
        return failed("model", error.message.splitlines()[0], install)
    except ModuleNotFoundError as error:
        return failed("model", f"{model}: the package {error.name} is not installed", install)
    return ok("model", f"{model}, weights in a package ({file.stat().st_size / 1e6:.0f} MB)")


def _application(model: str, downloads: Path) -> Check:
    def plain(name: str) -> str:
        return name.lower().replace("_", "").replace("-", "")

    if downloads.is_dir() and any(plain(file.name).startswith(plain(model)) for file in downloads.iterdir()):
        return ok("model", f"{model}, weights in {downloads}")
    found = (
        f"{model}: no weights of that name in {downloads}; the first start downloads them, if Keras has such a model"
    )
    return warning("model", found, f"MODEL={model} {_FETCH}")


def check_labels(model: str, labels: str, *, install: str) -> Check:
    """labels: MODEL_LABELS, `imagenet` or a text file. install: the line that installs packages."""
    if model == "null":
        return ok("labels", "null needs none")
    if labels == "imagenet":
        try:
            return ok("labels", f"{len(imagenetlabels.read())} of ImageNet")
        except ConfigurationError as error:
            return failed("labels", error.message.splitlines()[0], install)
    fix = "MODEL_LABELS=/path/of/a/text/file with one label a line, or unset it"
    try:
        count = len(Path(labels).read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        return failed("labels", f"MODEL_LABELS: {labels} cannot be read: {error}", fix)
    if not count:
        return failed("labels", f"MODEL_LABELS: {labels} is empty", fix)
    return ok("labels", f"{count} in {labels}; a worker compares them with the model's outputs at its start")
