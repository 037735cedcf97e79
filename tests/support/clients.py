"""What the tests of other people's clients share."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import null_label


def label_of(file: Path) -> str:
    return null_label(file.read_bytes())


def class_of(image: bytes) -> int:
    return int(null_label(image).removeprefix("null_"))


def run(*command: str) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
