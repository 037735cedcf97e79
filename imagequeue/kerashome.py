"""Keras's own folder: what it has downloaded, and its settings."""

from __future__ import annotations

import os
from pathlib import Path

RESNET50_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
# Where Keras gets it from.
RESNET50_ADDRESS = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{RESNET50_FILE}"


def home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))


def downloads() -> Path:
    """Where downloaded weights are kept."""
    return home() / "models"
