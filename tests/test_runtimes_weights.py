"""A model answers the same for as long as its process lives, whatever is freed, collected and allocated meanwhile.

A runtime that computes with memory of a library that was needed for the conversion only is right until the garbage
collector comes by. Each runtime and precision is loaded in a process of its own, as a worker loads it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from tests.support.pictures import picture
from tests.support.system import ROOT

pytestmark = pytest.mark.slow

SIZE = (32, 24)
CLASSES = 5
# How far a probability may be from Keras's own answer in float32.
TOLERANCES = {"float32": 1e-5, "bfloat16": 0.03, "int8": 0.1}

# Loads the model with no cache, with an empty one, with one that has it, and prints the largest error of any
# probability: at once, after a collection, and after allocations that take what has been freed.
PROGRAM = """
import gc, json, pathlib, shutil, sys
import numpy as np
from imagequeue import model as models
from imagequeue.warmup import warm_up

folder, runtime, size, precisions = pathlib.Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]
pixels, right = np.load(folder / "pixels.npy"), np.load(folder / "right.npy")
found = {}
for precision, cache in [(p, c) for p in precisions for c in ("none", "fresh", "kept")]:
    if runtime != "openvino" and cache != "none":
        continue
    graphs = folder / f"graphs-{precision}"
    model = models.load(
        str(folder / "model.keras"), weights="imagenet", labels=str(folder / "labels.txt"), size=tuple(size),
        preprocessing="auto", threads=2, runtime=runtime, precision=precision,
        calibration=str(folder / "images"), graphs=None if cache == "none" else graphs,
    )
    warm_up(model, 8)
    steps = found[f"{precision} {cache}"] = []
    def look():
        for part in (pixels[:1], pixels[:5], pixels):
            steps.append(float(np.abs(model.predict(part) - right[: len(part)]).max()))
    look()
    for _ in range(3):
        gc.collect()
        look()
        junk = [np.full(n, 7.0, np.float32) for n in (4, 8, 16, 64, 256, 1024, 4096, 7200, 65536) for _ in range(40)]
        look()
        del junk
    if cache == "kept":
        # Another worker has tidied the folder up.
        shutil.rmtree(graphs)
        look()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with biases that are not zero, its labels, pixels, and what Keras itself answers for them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((SIZE[1], SIZE[0], 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    for weight in model.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(keras.random.normal(weight.shape) / 2)
    made = tmp_path_factory.mktemp("weights")
    model.save(made / "model.keras")
    pixels = np.random.default_rng(1).integers(0, 256, (8, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    np.save(made / "pixels.npy", pixels)
    np.save(made / "right.npy", np.asarray(model(pixels.astype(np.float32), training=False)))
    (made / "labels.txt").write_text("\n".join(f"label {n}" for n in range(CLASSES)))
    (made / "images").mkdir()
    for number in range(12):
        (made / "images" / f"{number}.png").write_bytes(picture(number, SIZE))
    return made


@pytest.mark.parametrize(
    ("runtime", "precisions"),
    [
        # It is told once in a process which precision it computes in.
        ("tensorflow", ["float32"]),
        ("tensorflow", ["bfloat16"]),
        ("openvino", ["float32", "bfloat16", "int8"]),
    ],
)
def test_no_answer_changes_when_what_was_needed_to_load_the_model_is_freed(
    runtime: str, precisions: list[str], folder: Path
) -> None:
    library = pytest.importorskip(runtime)
    if runtime == "openvino":
        missing = {
            "bfloat16": "BF16" not in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
            "int8": util.find_spec("nncf") is None,
        }
        precisions = [precision for precision in precisions if not missing.get(precision)]
    command = [sys.executable, "-c", PROGRAM, str(folder), runtime, json.dumps(SIZE), *precisions]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout.splitlines()[-1])
    too_large = {case: max(steps) for case, steps in errors.items() if max(steps) > TOLERANCES[case.split()[0]]}
    assert errors
    assert not too_large
