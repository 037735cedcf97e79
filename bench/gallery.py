"""What a soak sends: pictures, and what the model says of each, computed without the service."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from imagequeue import images
from imagequeue import model as models
from tests.support.pictures import picture
from tests.support.system import ROOT


@dataclass(frozen=True)
class Picture:
    """An upload and what must come back: its best label and probability, and whether it is poison."""

    upload: bytes
    label: str
    probability: float
    index: int


@dataclass(frozen=True)
class Gallery:
    """Innocent pictures, and one of each poison."""

    innocent: Sequence[Picture]
    killer: Picture
    raiser: Picture

    def pick(self, number: int, poison: float, killing: float) -> Picture:
        """The same for the same number. poison: the share of poison; killing: the share of it that kills."""
        dice = random.Random(number)
        if dice.random() >= poison:
            return dice.choice(self.innocent)
        return self.killer if dice.random() < killing else self.raiser

    def is_poison(self, picture: Picture) -> bool:
        return picture in (self.killer, self.raiser)


def open_gallery(model: models.Model) -> Gallery:
    """What this very model says of each picture, computed here, without the service."""
    if model.name == "null":
        uploads = [picture(number) for number in range(100)]
    else:
        uploads = [file.read_bytes() for file in sorted((ROOT / "samples").glob("*.png"))]
    pictures = []
    for upload in uploads:
        pixels = images.decode(upload, size=model.size, max_bytes=2**24, max_pixels=10**8)
        ((best, *_),) = model.classify(model.batch_of([pixels]), [1])
        pictures.append(Picture(upload, best.label, best.probability, best.index))
    killer = pictures[0]
    raiser = next(p for p in pictures if p.index != killer.index)
    innocent = [p for p in pictures if p.index not in (killer.index, raiser.index)]
    return Gallery(innocent, killer, raiser)
