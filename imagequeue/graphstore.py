"""Converted models, kept on the disk: a worker's next start needs neither Keras nor TensorFlow.

An entry is a folder: what the runtime wrote, and facts.json with the labels, the weights' name and the digests. Its
name is a digest of all that the graph was made from, so an entry never changes, and none is ever out of date. One that
is not whole is made anew, and a disk on which none can be kept costs no more than a warning and the time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from imagequeue import efficientnetlite, imagenetlabels, images, kerashome, kerasmodel, runtimes, torcharchive
from imagequeue.errors import ConfigurationError
from imagequeue.events import log, warn
from imagequeue.runtimes import Plan

# A hundred megabytes each, for a model such as ResNet50.
MOST_KEPT = 4
FACTS = "facts.json"
# What takes part in a conversion, pillow and cykooz.resizer in the calibration for int8; and where labels come from.
PACKAGES = ("keras", "tensorflow", "openvino", "nncf", "pillow", "cykooz.resizer", imagenetlabels.PACKAGE)
# No conversion takes so many seconds: whoever began an entry then has died over it.
ABANDONED_AFTER = 3600.0
_KEY = re.compile("[0-9a-f]{32}")
_UNFINISHED = ".imagequeue-unfinished-"


@dataclass(frozen=True)
class Kept:
    """What is kept beside a graph: see model.Model."""

    weights: str
    labels: tuple[str, ...]


class GraphStore:
    """One folder of entries, shared by all workers of one user. They may all write the same entry at once."""

    def __init__(self, directory: Path, graph_file: str) -> None:
        """graph_file: the name under which the runtime writes and reads."""
        self._directory = directory
        self._graph_file = graph_file

    def graph(self, key: str) -> Path:
        """Where that entry's graph lies, if there is one."""
        return self._directory / key / self._graph_file

    def find(self, key: str) -> Kept | None:
        """The entry with that key; None if there is none, or none that is whole."""
        entry = self._directory / key
        try:
            # Not `Path.is_dir`, which raises where the folder may not be searched.
            if not os.path.isdir(entry) or not (self._is_trusted(self._directory) and self._is_trusted(entry)):
                return None
            facts = json.loads((entry / FACTS).read_text(encoding="utf-8"))
            if facts != _facts(entry, kept := Kept(facts["weights"], tuple(facts["labels"]))):
                raise ValueError("a file has changed")
        except (OSError, ValueError, LookupError, TypeError) as error:
            warn("kept_graph_broken", entry=str(entry), reason=repr(error))
            self.drop(key)
            return None
        # The one that has not been used for longest goes first. A folder that may only be read serves as well.
        with suppress(OSError):
            os.utime(entry)
        return kept

    def drop(self, key: str) -> None:
        shutil.rmtree(self._directory / key, ignore_errors=True)

    def keep(self, key: str, kept: Kept, write: Callable[[Path], object]) -> None:
        """Make an entry; `write` is called with the file to make. A failure is only told."""
        entry = self._directory / key
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_trusted(self._directory):
                return
            with tempfile.TemporaryDirectory(dir=self._directory, prefix=_UNFINISHED) as made:
                unfinished = Path(made) / key
                unfinished.mkdir(mode=0o700)
                write(unfinished / self._graph_file)
                (unfinished / FACTS).write_text(json.dumps(_facts(unfinished, kept)), encoding="utf-8")
                # As a whole or not at all; who comes second finds the same thing there already.
                unfinished.rename(entry)
            log("graph_kept", entry=str(entry))
            self._tidy()
        except Exception as error:
            # A full disk in the midst of the runtime's writing comes as whatever the runtime makes of it.
            if not os.path.isdir(entry):
                warn("graph_not_kept", folder=str(self._directory), reason=repr(error))

    def _is_trusted(self, place: Path) -> bool:
        """Who can write here chooses what is answered: only this user, or root, may."""
        found = place.stat()
        if os.name != "posix" or (
            found.st_uid in (0, os.getuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            return True
        warn("model_cache_not_trusted", folder=str(place), reason="others may write there; remove it, or name another")
        return False

    def _tidy(self) -> None:
        """Leave the entries used last. A worker that has mapped a file into its memory goes on with it.

        MODEL_CACHE may name a folder in which there are other things.
        """
        finished = [one for one in self._directory.iterdir() if _KEY.fullmatch(one.name) and (one / FACTS).is_file()]
        unfinished = [one for one in self._directory.iterdir() if one.name.startswith(_UNFINISHED)]
        used = {}
        for one in finished + unfinished:
            # Another worker may be tidying, too.
            with suppress(FileNotFoundError):
                used[one] = one.stat().st_mtime
        latest = sorted(used.keys() & set(finished), key=used.__getitem__)
        abandoned = [one for one in used.keys() & set(unfinished) if used[one] < time.time() - ABANDONED_AFTER]
        for old in [*latest[:-MOST_KEPT], *abandoned]:
            self.drop(old.name)


def made_from(name: str, *, weights: str, labels: str, preprocessing: str, plan: Plan) -> dict[str, Any]:
    """All that a converted graph is made from; empty if it is not to be kept: its weights are random, or one of the
    files is not there, which building the model will say.

    name, weights, labels, preprocessing: as for model.load.
    """
    is_own = name.endswith(".keras")
    if weights == "random" and not is_own:
        return {}
    is_packaged, is_imagenet = kerasmodel.is_packaged(name), weights == "imagenet" and not is_own
    try:
        return {
            "model": _identity(name) if is_own else name,
            "weights": "" if is_own else "imagenet" if weights == "imagenet" else _identity(weights),
            "labels": "imagenet" if labels == "imagenet" else _identity(labels),
            "downloaded": _listing(kerashome.downloads()) if is_imagenet and not is_packaged else [],
            "packaged": _identity(str(efficientnetlite.weights_file())) if is_imagenet and is_packaged else "",
            "keras": _digest(kerashome.home() / "keras.json") if (kerashome.home() / "keras.json").exists() else "",
            "preprocessing": preprocessing,
            "size": plan.size,
            "precision": plan.precision,
            "calibration": _listing(Path(plan.calibration)) if plan.precision == "int8" else [],
            "versions": {package: _version(package) for package in PACKAGES},
            # The way of converting, so that nobody has to remember to count it up.
            "code": {file.name: _digest(file) for file in _sources()},
        }
    except (OSError, ConfigurationError) as error:
        log("graph_has_no_key", reason=str(error).splitlines()[0])
        return {}


def key_of(sources: dict[str, Any]) -> str:
    """The key of what is made from them: 32 hexadecimal digits; empty if they are."""
    if not sources:
        return ""
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:32]


def _sources() -> list[Path]:
    modules = (kerasmodel, efficientnetlite, torcharchive, imagenetlabels, images)
    return [*(Path(str(module.__file__)) for module in modules), *Path(runtimes.__file__).parent.glob("*.py")]


def _facts(entry: Path, kept: Kept) -> dict[str, Any]:
    digests = {file.name: _digest(file) for file in entry.iterdir() if file.name != FACTS}
    facts = {"weights": kept.weights, "labels": list(kept.labels), "digests": digests}
    return {**facts, "digest": hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}


def _identity(name: str) -> tuple[str, str]:
    """A file's name, which is shown to people, and its contents."""
    return Path(name).name, _digest(Path(name))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """These files may be many and large, so their times stand for their contents."""
    return sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
