"""One attack: which settings the service has, what is done to it, and what is wanted meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.attacks.verdict import Wanted

if TYPE_CHECKING:
    from bench.attacks.scene import Scene


@dataclass(frozen=True)
class Attack:
    """run: does it, for about scene.seconds, and counts in the scene what the attackers got; ends when scene.is_over.

    settings: of the service, beside two web processes and the null model. redis: options of its Redis.
    key: an API key that honest clients send. seconds: at least and at most so long, whatever was asked for.
    """

    name: str
    what: str
    run: Callable[[Scene], None]
    wanted: Wanted = field(default_factory=Wanted)
    settings: Mapping[str, object] = field(default_factory=dict)
    redis: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    seconds: tuple[float, float] = (0.0, 20.0)
    # Whether it says anything about a service behind a proxy.
    is_for_proxies: bool = True
