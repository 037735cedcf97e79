"""When all is as before again, and what becomes of a row in JSON."""

from __future__ import annotations

import json
import math

import pytest

from bench.attacks.figures import Sample
from bench.attacks.row import Row, last_bad
from tests.bench.attacks.test_verdict import SEEN

PROBES = [Sample(at=10 + number / 20, seconds=0.01, status="200") for number in range(40)]
IMAGES = [Sample(at=10 + number / 5, seconds=0.1, status="200") for number in range(10)]


@pytest.mark.parametrize(
    ("probes", "images", "end"),
    [
        ([], [], 10.0),
        ([Sample(9.0, 4.0, "200")], [], 10.0),
        ([Sample(10.5, 0.3, "200")], [], 10.8),
        ([Sample(10.5, 0.01, "503")], [], 10.51),
        ([], [Sample(11.0, 1.5, "200")], 12.5),
        ([], [Sample(11.0, 0.9, "200")], 10.0),
        ([Sample(10.1, math.inf, "TimeoutError")], [], 15.1),
    ],
    ids=["all good", "sent before", "slow probe", "refused probe", "slow image", "usual image", "never answered"],
)
def test_the_last_bad_answer_ends_the_time_that_is_not_as_before(
    probes: list[Sample], images: list[Sample], end: float
) -> None:
    found = last_bad([*PROBES, *probes], [*IMAGES, *images], since=10.0, most_seconds=1.1)
    assert found == pytest.approx(end)


def test_a_row_is_json_without_infinities() -> None:
    row = Row("scans", "files", "", 5.0, SEEN, ["late"])
    figures = json.loads(json.dumps(row.figures(), allow_nan=False))
    assert figures["verdict"] == "not as wanted"
    assert figures["reasons"] == ["late"]
    assert figures["attackers"] == {"400": 3, "503": 9, "504": 2, "cut off": 1}
    never = Row("scans", "files", "", 5.0, SEEN.__class__(**{**SEEN.__dict__, "livez_ms": math.inf}), [])
    assert json.loads(json.dumps(never.figures(), allow_nan=False))["livez_ms"] is None
