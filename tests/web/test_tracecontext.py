"""`traceparent`, by the letter of W3C Trace Context."""

from __future__ import annotations

import pytest

from imagequeue.web.tracecontext import begin

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_is_taken_over_with_a_span_of_its_own() -> None:
    context = begin(f"00-{TRACE}-{PARENT}-01")
    assert (context.trace_id, context.parent_id, context.is_sampled) == (TRACE, PARENT, True)
    assert context.span_id not in (PARENT, "0" * 16)
    assert context.header == f"00-{TRACE}-{context.span_id}-01"


def test_a_trace_that_is_not_sampled_stays_so() -> None:
    assert begin(f"00-{TRACE}-{PARENT}-00").header.endswith("-00")


def test_a_later_version_with_more_fields_is_understood_as_far_as_it_goes() -> None:
    assert begin(f"01-{TRACE}-{PARENT}-01-something-new").trace_id == TRACE


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "garbage",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\x00",
    ],
)
def test_whatever_is_broken_begins_a_new_trace(broken: str) -> None:
    first, second = begin(broken), begin(broken)
    assert first.parent_id == ""
    assert first.trace_id not in (TRACE, second.trace_id, "0" * 32)
    assert begin(first.header).trace_id == first.trace_id, "what begins here is valid itself"
