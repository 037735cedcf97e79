"""All attacks, in the order in which they are carried out."""

from __future__ import annotations

from bench.attacks import decoding, documents, jobs, logs, names, slow, unread, worker
from bench.attacks.attack import Attack

FAMILIES = (decoding, documents, unread, slow, logs, names, jobs, worker)
ATTACKS: tuple[Attack, ...] = tuple(attack for family in FAMILIES for attack in family.ATTACKS)


def chosen(names: list[str], *, through: str = "") -> list[Attack]:
    """Those named, or all that say anything of a service reached so. Raises KeyError for a name that is none."""
    by_name = {attack.name: attack for attack in ATTACKS}
    if names:
        return [by_name[name] for name in names]
    return [attack for attack in ATTACKS if attack.is_for_proxies or not through]
