"""What the scripts make of numbers, names and headers, asked of the modules themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
CALL = "([file, name, values]) => import(`/static/${file}.js`).then((found) => values.map((v) => found[name](...v)))"


def call(visit: Visit, file: str, name: str, *arguments: list[Any]) -> list[Any]:
    """The results of one exported function for each list of arguments."""
    found: list[Any] = visit().open().evaluate(CALL, [file, name, list(arguments)])
    return found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("words", {"crossword_puzzle": "Crossword puzzle", "": "", "ImageNet": "ImageNet"}),
        (
            "percent",
            {0: "0.0 %", 0.0001: "< 0.1 %", 0.0006: "0.1 %", 0.826: "82.6 %", 0.9999: "> 99.9 %", 1: "100.0 %"},
        ),
        (
            "duration",
            {0: "0.0 ms", 9.94: "9.9 ms", 350.4: "350 ms", 1260: "1.26 s", 2e3: "2 s", 99e3: "99 s", 6e5: "10 min"},
        ),
        ("size", {0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 10 * 2**20: "10 MiB", 1_500_000: "1.43 MiB"}),
        ("count", {0: "0", 1234567: "1,234,567"}),
    ],
)
def test_numbers_and_names_read_well(name: str, told: dict[Any, str], visit: Visit) -> None:
    assert call(visit, "text", name, *([value] for value in told)) == list(told.values())


def test_a_missing_duration_is_a_dash(visit: Visit) -> None:
    assert len(call(visit, "text", "duration", [None])[0]) == 1


def test_the_top_of_a_scale_is_one_two_or_five_times_a_power_of_ten(visit: Visit) -> None:
    tops = {0: 1, 0.3: 0.5, 1: 1, 1.01: 2, 2: 2, 4: 5, 7: 10, 51: 100, 1999: 2000}
    found = call(visit, "chart", "niceCeiling", *([value] for value in tops))
    assert found == pytest.approx(list(tops.values()))


def test_server_timing_is_read_and_what_it_does_not_tell_has_travelled(visit: Visit) -> None:
    header = "decode;dur=1.5, queue;dur=20, inference;desc=x;dur=70, total;dur=95"
    (found,) = call(visit, "timing", "stages", [header, 100.0])
    assert {stage["name"]: stage["ms"] for stage in found} == {
        "waited": 20,
        "computed": 70,
        "decoded": 1.5,
        "travelled": 8.5,
    }
    (untold,) = call(visit, "timing", "stages", [None, 12.0])
    assert [stage["ms"] for stage in untold] == [0, 0, 0, 12]
