"""The sample pictures are those that their program draws."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scripts import draw_samples
from tests.support.system import ROOT


@pytest.mark.parametrize("name", list(draw_samples.PICTURES))
def test_a_sample_is_drawn_alike_each_time(name: str) -> None:
    drawn = draw_samples.picture(name)
    with Image.open(ROOT / "samples" / name) as kept:
        difference = np.abs(np.asarray(kept.convert("RGB"), np.int16) - np.asarray(drawn.convert("RGB"), np.int16))
    # Another version of Pillow may smooth an edge or choose a palette in another way.
    assert difference.mean() < 1


def test_each_sample_has_its_program() -> None:
    assert {file.name for file in (ROOT / "samples").iterdir()} == set(draw_samples.PICTURES)
