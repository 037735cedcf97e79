"""The header `traceparent`, by which a request is followed through several services (W3C Trace Context, level 1).

A request that carries one keeps its trace id and gets a span of its own; one that carries none, or a broken one,
begins a trace. The answer hands it on, and the log lines name the trace id.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from imagequeue.job import new_id

# version, trace id, parent id, flags; a later version may append more fields, which are none of ours.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 0x01
_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class TraceContext:
    """One span of one trace. parent_id: the caller's span; empty where the trace begins here."""

    trace_id: str
    span_id: str
    parent_id: str
    is_sampled: bool

    @property
    def header(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


def request_id(sent: str) -> str:
    """The id of the request that came with this `X-Request-ID`, which may be empty or no id."""
    return sent if _REQUEST_ID.fullmatch(sent) else new_id()


def begin(traceparent: str) -> TraceContext:
    """A span for the request that came with this header; `traceparent` may be empty or broken."""
    span_id = _new_id(8)
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match:
        version, trace_id, parent_id, flags, rest = match.groups()
        is_of_its_version = version != "ff" and (version != "00" or not rest)
        if is_of_its_version and trace_id != "0" * 32 and parent_id != "0" * 16:
            return TraceContext(trace_id, span_id, parent_id, bool(int(flags, 16) & _SAMPLED))
    return TraceContext(_new_id(16), span_id, "", False)


def _new_id(length: int) -> str:
    """Random, and never all zeros, which the standard calls invalid."""
    while True:
        chosen = secrets.token_hex(length)
        if chosen.strip("0"):
            return chosen
