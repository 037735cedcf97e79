"""Which model is served: what its live workers told of it when they joined.

The other protocols name a model and a version in the address. A queue has one model, and whoever changes it starts
new workers, so its only version is "1". While two models take turns, both names are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagequeue.errors import NotFound, NoWorkers
from imagequeue.web import exchange
from imagequeue.web.jsonimages import MAX_SHOWN

VERSION = "1"


@dataclass(frozen=True)
class ServedModel:
    """A model as the protocols' metadata show it; `size` is (width, height) in pixels."""

    name: str
    classes: int
    size: tuple[int, int]
    runtime: str

    @classmethod
    def from_facts(cls, facts: Mapping[str, str | int | float]) -> ServedModel:
        """From what a worker tells. Raises KeyError, ValueError if that is not enough."""
        width, _, height = str(facts["image_size"]).partition("x")
        # A name of digits alone comes back as a number.
        return cls(str(facts["model"]), int(facts["classes"]), (int(width), int(height)), str(facts["runtime"]))


def model_named(name: str, version: str | None = None) -> ServedModel:
    """The model with this name, in this version or in any.

    Raises NotFound for another model or version, NoWorkers when none is served at all, RedisDown.
    """
    found = _models()
    if not found:
        raise NoWorkers("No worker is alive, so no model is served.", retry_after=5)
    shown, its_version = name[:MAX_SHOWN], (version or "")[:MAX_SHOWN]
    wanted = f"Specific({shown}, {its_version})" if version else f"Latest({shown})"
    if name not in found or version not in (None, VERSION):
        raise NotFound(
            f"Servable not found for request: {wanted}. Served: {', '.join(sorted(found))}, version {VERSION}."
        )
    return found[name]


def _models() -> dict[str, ServedModel]:
    found = {}
    for worker in exchange.classifier().lookout.latest().workers:
        try:
            model = ServedModel.from_facts(worker.facts)
        except (KeyError, ValueError):
            # Its facts have expired, or it is a worker of an earlier release.
            continue
        if worker.is_live:
            found[model.name] = model
    return found
