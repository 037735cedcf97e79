"""A verdict is good only if all is as wanted, and says of each thing why it is not."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from bench.attacks.verdict import Seen, Wanted, broken, counted, decoders_bound_mb, shown

WANTED = Wanted(answer_seconds=6.0, held=0, decoders_mb=1200.0)
SEEN = Seen(
    livez_ms=200.0,
    livez_max_ms=900.0,
    alone_ms=20.0,
    honest_ms=1020.0,
    honest={"200": 25},
    attackers={"400": 3, "503": 9, "504": 2, "cut off": 1},
    answer_seconds=6.0,
    held=0,
    web_mb=(60.0, 235.0),
    decoders_mb=(1200.0, 70.0),
    decoders=2,
    recovered_seconds=5.0,
)


def test_what_is_just_as_wanted_is_as_wanted() -> None:
    assert broken(SEEN, WANTED) == []


@pytest.mark.parametrize(
    ("otherwise", "reason"),
    [
        ({"livez_ms": 201.0}, "/livez p99 201 ms"),
        ({"livez_ms": math.inf}, "/livez p99 none ms"),
        ({"honest_ms": 1021.0}, "honest p99 1021 ms, alone 20"),
        ({"alone_ms": math.inf, "honest_ms": math.nan}, "honest p99"),
        ({"honest": {"200": 24, "503": 1}}, "honest clients got 503 x 1"),
        ({"attackers": {"500": 1, "400": 7}}, "attackers got 500 x 1"),
        ({"attackers": {"502": 1}}, "attackers got 502 x 1"),
        ({"answer_seconds": 6.1}, "an attacker was served for 6.1 s"),
        ({"held": 1}, "1 attackers still held"),
        ({"web_mb": (60.0, 236.0)}, "a web process had 236 MB"),
        ({"decoders_mb": (1201.0, 70.0)}, "decoders had 1201 MB"),
        ({"recovered_seconds": 5.1}, "as before only 5.1 s after"),
        ({"recovered_seconds": None}, "not as before"),
        ({"faults": ("a web process ended",)}, "a web process ended"),
    ],
)
def test_each_thing_that_is_not_as_wanted_is_a_reason(otherwise: dict[str, Any], reason: str) -> None:
    (found,) = broken(dataclasses.replace(SEEN, **otherwise), WANTED)
    assert reason in found


def test_an_attacker_who_waits_on_purpose_may_wait() -> None:
    waiting = dataclasses.replace(SEEN, answer_seconds=20.0, held=1500)
    assert broken(waiting, Wanted(decoders_mb=1200.0)) == []


def test_behind_a_proxy_a_502_is_the_proxys_word_for_somebody_cut_off() -> None:
    assert (
        broken(dataclasses.replace(SEEN, attackers={"502": 4}), dataclasses.replace(WANTED, may_answer=("502",))) == []
    )


def test_the_bound_of_the_decoders_is_the_one_of_the_docs() -> None:
    # docs/internals.md: 1.3 GB with the defaults and two decoders.
    assert decoders_bound_mb(2, max_image_pixels=50_000_000, max_upload_bytes=10 * 2**20) == pytest.approx(1300, abs=50)
    # JSON counts where images are small.
    assert decoders_bound_mb(1, max_image_pixels=1, max_upload_bytes=10**7) == pytest.approx(726.5, abs=1)


def test_outcomes_are_shown_with_the_most_frequent_first() -> None:
    assert counted({"503": 2, "200": 31}) == "200 x 31, 503 x 2"
    assert shown(math.inf) == "none"
    assert shown(12.6) == "13"
