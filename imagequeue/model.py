"""The model: one function from pixels to probabilities, and the labels that go with them.

Three kinds: an application of Keras by its name, somebody's own `.keras` file, and `null`, which answers at
once from a checksum of the pixels and so shows what the service itself costs, and whether it mixes answers up.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from imagequeue import kerasmodel, runtimes
from imagequeue.events import log, warn
from imagequeue.graphstore import GraphStore, Kept, key_of, made_from
from imagequeue.job import Prediction
from imagequeue.runtimes import Pixels, Predict, Probabilities
from imagequeue.shortest import shortest

NULL_CLASSES = 1000


@dataclass(frozen=True)
class Model:
    """A model ready to answer.

    weights: "imagenet", "random", or the name of the file they came from.
    size: (width, height) in pixels. labels: one for each output. predict: see runtimes.
    paces: seconds that it takes for a batch of so many images, for each power of two that it was warmed for.
    has_lanes: whether it cuts a batch by itself, for lanes that compute side by side; a second batch, given before the
    first is done, begins with what the first leaves idle.
    """

    name: str
    weights: str
    runtime: str
    precision: str
    size: tuple[int, int]
    labels: tuple[str, ...]
    predict: Predict
    paces: Mapping[int, float] = field(default_factory=dict)
    has_lanes: bool = False

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

        Never traces, compiles or allocates for a new shape: the batch is cut into the sizes that were warmed, unless
        the model has lanes. Raises ValueError if it gives something for one image that is no number.
        """
        return [self._best(row, top) for row, top in zip(self.probabilities(pixels), tops, strict=True)]

    def probabilities(self, pixels: Pixels) -> Probabilities:
        """All outputs for each image of a batch, in the order of the labels; cut as `classify` says."""
        parts, start = [], 0
        for size in [len(pixels)] if self.has_lanes else warm_sizes(len(pixels)):
            parts.append(self.predict(pixels[start : start + size]))
            start += size
        return np.concatenate(parts)

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
        decimals = shortest(probabilities[best])
        return tuple(Prediction(self.labels[i], decimal, int(i)) for i, decimal in zip(best, decimals, strict=True))


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
    graphs: Path | None = None,
) -> Model:
    """Build the model that the settings name.

    name: `null`, an application in any case (`resnet50`, `efficientnet-lite0`), or the path of a `.keras` file.
    weights: `imagenet`, `random`, or a file (`.h5`, `.weights.h5`, `.keras`); a `.keras` model has its own.
    labels: `imagenet`, or a text file with one label a line.
    size: (width, height) that the web servers send. preprocessing: `auto`, `none`, or an application's name.
    runtime, precision, calibration: see runtimes.choose and runtimes. graphs: see graphstore; None: nothing is kept.
    Raises WeightsMissing, and ConfigurationError for what does not fit together.
    """
    if name == "null":
        names = tuple(f"null_{i}" for i in range(NULL_CLASSES))
        return Model(name, "none", "null", "none", size, names, _null_predict)
    chosen = runtimes.choose(runtime, precision)
    engine = importlib.import_module(f"imagequeue.runtimes.{chosen}")
    plan = runtimes.Plan(size, threads, precision, calibration)
    if not graphs or not engine.GRAPH_FILE:
        graph, kept = _converted(engine, name, weights, labels, preprocessing, plan)
    else:
        store = GraphStore(graphs, engine.GRAPH_FILE)

        def sources() -> dict[str, Any]:
            return made_from(name, weights=weights, labels=labels, preprocessing=preprocessing, plan=plan)

        before = sources()
        key = key_of(before)
        found = _found(engine, store, key)
        graph, kept = found or _converted(engine, name, weights, labels, preprocessing, plan)
        if key and not found:
            # A file that was replaced, or downloaded, meanwhile: nobody knows which of the two went into the graph.
            after = sources()
            if changed := [what for what, was in before.items() if after.get(what) != was]:
                log("graph_not_kept", reason=f"changed meanwhile: {', '.join(changed)}")
            else:
                store.keep(key, kept, lambda file: engine.write(graph, file))
    predict: Predict = engine.compile_graph(graph, plan)
    return Model(
        Path(name).stem, kept.weights, chosen, precision, size, kept.labels, predict, has_lanes=engine.HAS_LANES
    )


def _found(engine: ModuleType, store: GraphStore, key: str) -> tuple[Any, Kept] | None:
    """The graph with that key as it was kept, or None."""
    kept = store.find(key) if key else None
    if kept is None:
        return None
    try:
        graph = engine.read(store.graph(key))
    except Exception as error:
        # Another worker's tidying was first, or the runtime does not like what it wrote itself.
        warn("kept_graph_broken", entry=str(store.graph(key).parent), reason=repr(error))
        store.drop(key)
        return None
    log("graph_found", entry=str(store.graph(key).parent))
    return graph, kept


def _converted(
    engine: ModuleType, name: str, weights: str, labels: str, preprocessing: str, plan: runtimes.Plan
) -> tuple[Any, Kept]:
    """The graph made from Keras's model."""
    engine.prepare(plan.threads, plan.precision)
    keras_model, source, preprocess = kerasmodel.build(name, weights, preprocessing)
    kerasmodel.check_shapes(keras_model, name, plan.size)
    names = kerasmodel.labels_of(labels, int(keras_model.output_shape[-1]))
    return engine.convert(keras_model, preprocess, plan), Kept(source, names)


def _null_predict(pixels: Pixels) -> Probabilities:
    probabilities = np.zeros((len(pixels), NULL_CLASSES), np.float32)
    for row, image in zip(probabilities, pixels, strict=True):
        row[null_class(image.tobytes())] = 1.0
    return probabilities


def null_class(pixels: bytes) -> int:
    """The output that the null model gives these pixels."""
    return zlib.crc32(pixels) % NULL_CLASSES
