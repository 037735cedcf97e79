"""A refusal written without Flask and without a thread, for a tenth of what it costs there: for the event loop.

Word for word what the application would have answered. Whatever makes a request special is left to the application:
a path that is none, an API key that is not known, a page of another origin. The client's rate is not counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Flask
from werkzeug.exceptions import HTTPException

from imagequeue.errors import Unauthorized, Unavailable
from imagequeue.events import warn
from imagequeue.web import tracecontext
from imagequeue.web.access import Access
from imagequeue.web.errorbody import error_document
from imagequeue.web.hosts import Hosts
from imagequeue.web.metrics import WebMetrics
from imagequeue.web.plainhttp import answer, parsed
from imagequeue.web.rootpath import RootPath

# The views that ask Admission.
CLASSIFYING = frozenset({"predict.predict", "tfserving.predict", "tfserving.classify", "v2.infer"})
# So many may wait to be logged and counted; while they do, the application refuses.
MAX_UNACCOUNTED = 4096


@dataclass(frozen=True)
class Rebuff:
    """An answer, all bytes of it, and whether the request that it is for has been received to its end."""

    answer: bytes
    is_all_here: bool


@dataclass(frozen=True)
class _Entry:
    """A refused request, to be logged and counted."""

    route: str
    refusal: Unavailable
    fields: dict[str, str]


def head_too_long(limit: int, request_id: str) -> Rebuff:
    """For a request whose head has not ended within `limit` bytes."""
    message = f"The request's header fields are longer than {limit} bytes."
    document = error_document("", "bad_request", message, request_id)
    return Rebuff(answer("431 Request Header Fields Too Large", f"X-Request-ID: {request_id}\r\n", document), False)


class Rebuffs:
    """The rebuffs of one process, and the account of them."""

    def __init__(
        self,
        app: Flask,
        access: Access | None,
        meters: WebMetrics,
        *,
        shared_fields: Mapping[str, str],
        hosts: Hosts,
        root: RootPath,
    ) -> None:
        """Of an app whose routes are complete. shared_fields: where pages of other origins may call, see cors."""
        self._routes = app.url_map.bind("")
        self._access = access
        self._meters = meters
        self.is_shared = bool(shared_fields)
        self.shared_fields = "".join(f"{name}: {value}\r\n" for name, value in shared_fields.items())
        self._hosts = hosts
        self.root = root
        self._unaccounted: deque[_Entry] = deque()

    def rebuff(self, received: bytes, refusal: Unavailable, came: float) -> Rebuff | None:
        """For the request that begins like this, its head whole; None where it is for the application to answer.

        came: the instant (of time.monotonic) at which the head was whole.
        """
        head, _, body = received.partition(b"\r\n\r\n")
        request, _ = parsed(head) or (None, 0)
        if request is None or request.method != "POST" or (self.is_shared and "Origin" in request.headers):
            return None
        path = self.root.below(request.path)
        if path is None or not self._hosts.allows(request.headers.get("Host")):
            return None
        if len(self._unaccounted) >= MAX_UNACCOUNTED:
            return None
        try:
            rule, _ = self._routes.match(path, method="POST", return_rule=True)
            client = self._access.client_of(request) if self._access else ""
        except (HTTPException, Unauthorized):
            return None
        if rule.endpoint not in CLASSIFYING:
            return None
        request_id = tracecontext.request_id(request.headers.get("X-Request-ID", ""))
        trace = tracecontext.begin(request.headers.get("traceparent", ""))
        fields = {"request": request_id, "trace": trace.trace_id} | ({"client": client} if client else {})
        self.note(rule.rule, refusal, fields)
        document = error_document(path, refusal.code, refusal.message, request_id)
        written = answer(
            "503 Service Unavailable",
            f"Retry-After: {refusal.retry_after}\r\nX-Request-ID: {request_id}\r\ntraceparent: {trace.header}\r\n"
            f"Server-Timing: total;dur={(time.monotonic() - came) * 1000:.1f}\r\n{self.shared_fields}",
            document,
        )
        return Rebuff(written, request.content_length == len(body))

    def note(self, route: str, refusal: Unavailable, fields: dict[str, str]) -> None:
        """Have a request logged and counted that was refused; beyond MAX_UNACCOUNTED none is."""
        if len(self._unaccounted) < MAX_UNACCOUNTED:
            self._unaccounted.append(_Entry(route, refusal, fields))

    @property
    def is_accounting_due(self) -> bool:
        return bool(self._unaccounted)

    def account(self) -> None:
        """Log and count who was rebuffed. In any thread but the loop's: it may have to wait for the log."""
        while True:
            try:
                entry = self._unaccounted.popleft()
            except IndexError:
                # At the process's end there may be two of us.
                return
            refusal = entry.refusal
            warn("refused", **entry.fields, status=refusal.status, code=refusal.code, reason=refusal.message)
            self._meters.rebuffed(entry.route, refusal)
