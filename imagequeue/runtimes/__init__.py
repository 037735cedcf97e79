"""Runtimes turn a Keras model into one function: a batch of pixels in, a batch of probabilities out.

Each module here has `prepare(threads)`, called before anything of the runtime is used, and
`compile_model(model, preprocess, size)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""(batch, height, width, 3), RGB, 0 to 255."""

Probabilities = npt.NDArray[np.float32]
"""(batch, classes), 0 to 1."""

Predict = Callable[[Pixels], Probabilities]

Preprocess = Callable[[Any], Any]
"""What the model wants done to float32 pixels of 0 to 255 first, in operations that the runtime can trace."""
