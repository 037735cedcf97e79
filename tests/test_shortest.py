"""Numbers for JSON: as short as can be, and the very same float32 when they are read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.shortest import shortest

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=3), st.sampled_from([1, 64]))
def test_what_json_gives_back_is_the_same_float32_in_as_few_digits_as_numpy_writes(
    values: list[float], times: int
) -> None:
    # Few and many are made in two ways.
    given = np.array(values * times, np.float32)
    found = shortest(given)
    assert np.array_equal(np.array(json.loads(json.dumps(found)), np.float32), given)
    assert [repr(one) for one in found] == [repr(float(str(value))) for value in given]


def test_every_probability_of_a_thousand_keeps_its_value() -> None:
    logits = np.random.default_rng(1).normal(0, 12, 1000).astype(np.float32)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    found = shortest(probabilities)
    assert np.array_equal(np.array(found, np.float32), probabilities)
    assert min(found) < 1e-12
    assert len(json.dumps(found)) < 0.75 * len(json.dumps(probabilities.astype(float).tolist()))


@pytest.mark.parametrize("times", [1, 40])
def test_numbers_that_are_short_stay_short(times: int) -> None:
    assert (
        shortest(np.array([0.1, 0.9936, 1e-7, 0.0, 1.0] * times, np.float32)) == [0.1, 0.9936, 1e-7, 0.0, 1.0] * times
    )
