"""Converted models, kept on the disk: a worker's next start needs neither Keras nor TensorFlow.

An entry is a folder: what the runtime wrote, and facts.json with the labels, the weights' name and the digests. Its
name is a digest of all that the graph was made from, so nothing in it ever changes and nothing is ever out of date.
An entry that is not whole is made anew, and a disk on which none can be kept costs no more than the time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from imagequeue import runtimes
from imagequeue.events import log, warn
from imagequeue.runtimes import Plan

# A hundred megabytes each, for a model such as ResNet50.
MOST_KEPT = 4
FACTS = "facts.json"
# What takes part in a conversion.
PACKAGES = ("keras", "tensorflow", "openvino", "nncf")


@dataclass(frozen=True)
class Kept:
    """One entry. graph: what the runtime wrote, under the name it was given. weights, labels: see model.Model."""

    graph: Path
    weights: str
    labels: tuple[str, ...]


class GraphStore:
    """One folder of entries, shared by all workers of one user. They may all write the same entry at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, key: str) -> Kept | None:
        """The entry with that key; None if there is none, or none that is whole."""
        entry = self._directory / key
        if not entry.is_dir():
            return None
        try:
            facts = json.loads((entry / FACTS).read_text(encoding="utf-8"))
            kept = Kept(entry / facts["graph"], facts["weights"], tuple(facts["labels"]))
            if _digests(entry) != facts["digests"]:
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
        """Make an entry. kept.graph: the name of the file that `write` is to make. A failure is only told."""
        entry = self._directory / key
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._directory, prefix="new-") as made:
                unfinished = Path(made) / key
                unfinished.mkdir()
                write(unfinished / kept.graph)
                facts = {
                    "graph": kept.graph.name,
                    "weights": kept.weights,
                    "labels": kept.labels,
                    "digests": _digests(unfinished),
                }
                (unfinished / FACTS).write_text(json.dumps(facts), encoding="utf-8")
                # As a whole or not at all; who comes second finds the same thing there already.
                unfinished.rename(entry)
        except Exception as error:
            # A full disk in the midst of the runtime's writing comes as whatever the runtime makes of it.
            if not entry.is_dir():
                warn("graph_not_kept", folder=str(self._directory), reason=repr(error))
            return
        log("graph_kept", entry=str(entry))
        for old in sorted(self._entries(), key=lambda one: one.stat().st_mtime, reverse=True)[MOST_KEPT:]:
            # A worker that has mapped its file into memory goes on with it.
            self.drop(old.name)

    def _entries(self) -> Iterator[Path]:
        return (one for one in self._directory.iterdir() if (one / FACTS).is_file())


def key_of(name: str, *, weights: str, labels: str, preprocessing: str, plan: Plan) -> str:
    """A digest of all that a converted graph is made from; empty if it is not to be kept: its weights are random, or
    one of the files is not there, which building the model will say.

    name, weights, labels, preprocessing: as for model.load.
    """
    if weights == "random" and not name.endswith(".keras"):
        return ""
    digest = hashlib.sha256()
    try:
        facts = {
            # Keras's own weights are pinned by its version.
            "model": _identity(name) if name.endswith(".keras") else name,
            "weights": "" if name.endswith(".keras") else "imagenet" if weights == "imagenet" else _identity(weights),
            "labels": "imagenet" if labels == "imagenet" else _identity(labels),
            "preprocessing": preprocessing,
            "size": plan.size,
            "precision": plan.precision,
            "calibration": _listing(Path(plan.calibration)) if plan.precision == "int8" else [],
            "versions": {package: _version(package) for package in PACKAGES},
            # The way of converting, so that nobody has to remember to count it up.
            "code": [_digest(file) for file in sorted(Path(runtimes.__file__).parent.glob("*.py"))],
        }
    except OSError:
        return ""
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _identity(name: str) -> tuple[str, str]:
    """A file's name, which is shown to people, and its contents."""
    return Path(name).name, _digest(Path(name))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _digests(entry: Path) -> dict[str, str]:
    return {file.name: _digest(file) for file in sorted(entry.iterdir()) if file.name != FACTS}


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """Calibration pictures may be many and large, so their times stand for their contents."""
    return sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
