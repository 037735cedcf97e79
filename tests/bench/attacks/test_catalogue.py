"""Every attack has a name of its own, is in docs/security.md, and ends in time."""

from __future__ import annotations

import re

import pytest

from bench.attacks.catalogue import ATTACKS, FAMILIES, chosen
from tests.support.system import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_docs_name_exactly_the_attacks_that_there_are() -> None:
    section = PAGE.partition("## What attacks it")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (\w+) \| ([^|]+) \|", section, re.MULTILINE))
    rows.pop("family")
    assert list(rows) == [family.__name__.rpartition(".")[2] for family in FAMILIES]
    for family, names in zip(FAMILIES, rows.values(), strict=True):
        assert re.findall(r"`([\w-]+)`", names) == [attack.name for attack in family.ATTACKS]
    assert f"{len(ATTACKS)} attacks" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_two_attacks_have_one_name_and_none_may_last_longer_than_twenty_seconds() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    for attack in ATTACKS:
        least, most = attack.seconds
        assert 0 <= least <= most <= 20


def test_attacks_are_chosen_by_name_and_behind_a_proxy_those_that_pass_one() -> None:
    assert [attack.name for attack in chosen(["thin", "scans"])] == ["thin", "scans"]
    assert chosen([]) == list(ATTACKS)
    assert {attack.name for attack in ATTACKS} - {attack.name for attack in chosen([], through="nginx")} == {
        "metrics-port"
    }
    with pytest.raises(KeyError):
        chosen(["nonsense"])
