"""The bare model in a process of its own, without any service: what the service is held against.

`python -m bench.bare --runtime tensorflow` prints one JSON object: the rate for each batch size, images/s.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from imagequeue import cpus
from imagequeue import model as models

BATCHES = (1, 4, 8, 16, 32)


def rate(model: models.Model, size: int, seconds: float) -> float:
    """Images a second in batches of `size`, by the median batch."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, model.size[1], model.size[0], 3), dtype=np.uint8)
    model.predict(pixels)
    took, end = [], time.perf_counter() + seconds
    while len(took) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        model.predict(pixels)
        took.append(time.perf_counter() - started)
    return size / float(np.median(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--calibration", default="")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    model = models.load(
        arguments.model,
        weights=arguments.weights,
        labels="imagenet",
        size=(224, 224),
        preprocessing="auto",
        threads=cpus.available(),
        runtime=arguments.runtime,
        precision=arguments.precision,
        calibration=arguments.calibration,
    )
    rates = {size: round(rate(model, size, arguments.seconds), 2) for size in BATCHES}
    print(json.dumps({"runtime": model.runtime, "precision": model.precision, "rates": rates}))


if __name__ == "__main__":
    main()
