"""The probes answered by the event loop, without a thread that others could take: word for word as the application
answers them.

Whatever makes a request special is left to the application: a body, a page of another origin, an upgrade.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gunicorn.workers.gthread import TConn
from werkzeug.sansio.request import Request

from imagequeue.errors import Unavailable
from imagequeue.events import fail
from imagequeue.web import tracecontext
from imagequeue.web.classifier import REDIS_AWAY_SECONDS
from imagequeue.web.errorbody import error_document
from imagequeue.web.metrics import WebMetrics
from imagequeue.web.plainhttp import answer, parsed
from imagequeue.web.rebuff import Rebuffs

ALIVE: dict[str, dict[str, Any]] = {"/livez": {"status": "alive"}, "/v2/health/live": {"live": True}}
READY: dict[str, dict[str, Any]] = {"/readyz": {"status": "ready"}, "/v2/health/ready": {"ready": True}}
# A readiness that is not found out within this is that Redis does not answer: as long as Classifier waits for it.
READINESS_SECONDS = REDIS_AWAY_SECONDS
# A request that has one of these may have a body, or want another protocol.
_SPECIAL = ("Content-Length", "Transfer-Encoding", "Expect", "Upgrade")


@dataclass(frozen=True)
class Probe:
    """A request to be answered, and when its head was whole (of time.monotonic). path: without the server's prefix."""

    request: Request
    path: str
    minor: int
    came: float

    @property
    def asks_for_readiness(self) -> bool:
        return self.path in READY

    @property
    def is_kept(self) -> bool:
        """Whether the client wants the connection to be kept, as Gunicorn reads it."""
        wanted = self.request.headers.get("Connection", "").lower()
        return wanted != "close" and (wanted == "keep-alive" or self.minor == 1)


class Readiness:
    """The probes that wait to be told whether a request sent now would be served. In the event loop.

    It is asked in a thread of its own, once for all that have come in the meantime; so nothing that was true a while
    ago is told, and a thousand probes cost Redis no more than a few.
    """

    def __init__(
        self,
        why_not_ready: Callable[[], str],
        defer: Callable[..., object],
        answer: Callable[[TConn, Probe, str], object],
    ) -> None:
        """defer: has the event loop make a call. answer: given each of them, with the reason."""
        self._why_not_ready = why_not_ready
        self._defer = defer
        self._answer = answer
        self._waiting: dict[TConn, Probe] = {}
        self._is_asked = False
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, conn: TConn, probe: Probe) -> None:
        """Have it answered."""
        self._waiting[conn] = probe
        if self._is_asked:
            return
        self._is_asked = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._find_out, name="readiness", daemon=True)
            self._thread.start()
        self._bell.put(None)

    def sweep(self, now: float) -> None:
        """Whoever has waited for too long is told that Redis does not answer."""
        for conn in [conn for conn, probe in self._waiting.items() if now - probe.came > READINESS_SECONDS]:
            self._answer(conn, self._waiting.pop(conn), "redis")

    def _find_out(self) -> None:
        while True:
            self._bell.get()
            try:
                reason = self._why_not_ready()
            except Exception as error:
                fail("readiness_broke", reason=repr(error))
                reason = "redis"
            self._defer(self._tell, reason)

    def _tell(self, reason: str) -> None:
        self._is_asked = False
        waiting, self._waiting = self._waiting, {}
        for conn, probe in waiting.items():
            self._answer(conn, probe, reason)


class Probes:
    """The ones of a process. In the event loop."""

    def __init__(self, rebuffs: Rebuffs, meters: WebMetrics, why_not_ready: Callable[[], str]) -> None:
        self.why_not_ready = why_not_ready
        self._rebuffs = rebuffs
        self._meters = meters
        self._starts = tuple(
            f"{method} {prefix}{path}".encode()
            for method in ("GET", "HEAD")
            for prefix in {"", rebuffs.root.prefix}
            for path in ALIVE | READY
        )

    def probe(self, received: bytes) -> Probe | None:
        """The probe that begins like this, its head whole; None where it is none, or for the application to answer."""
        if not received.startswith(self._starts):
            return None
        request, minor = parsed(received.partition(b"\r\n\r\n")[0]) or (None, 0)
        path = self._rebuffs.root.below(request.path) if request is not None else None
        if request is None or path not in ALIVE | READY:
            return None
        if (self._rebuffs.is_shared and "Origin" in request.headers) or any(
            name in request.headers for name in _SPECIAL
        ):
            return None
        return Probe(request, path, minor, time.monotonic())

    def answer(self, probe: Probe, *, is_kept: bool, reason: str = "") -> bytes:
        """All bytes of it. is_kept: the connection. reason: why the server is not ready."""
        request, path = probe.request, probe.path
        request_id = tracecontext.request_id(request.headers.get("X-Request-ID", ""))
        trace = tracecontext.begin(request.headers.get("traceparent", ""))
        fields = (
            f"X-Request-ID: {request_id}\r\ntraceparent: {trace.header}\r\n"
            f"Server-Timing: total;dur={(time.monotonic() - probe.came) * 1000:.1f}\r\n{self._rebuffs.shared_fields}"
        )
        status, document = "200 OK", (ALIVE | READY)[path]
        if reason and path == "/readyz":
            status, document = "503 Service Unavailable", {"status": "not ready", "reason": reason}
        if reason and path != "/readyz":
            refusal = Unavailable(f"Not ready: {reason}.")
            status, document = (
                "503 Service Unavailable",
                error_document(path, refusal.code, refusal.message, request_id),
            )
            fields = f"Retry-After: {refusal.retry_after}\r\n{fields}"
            self._rebuffs.note(path, refusal, {"request": request_id, "trace": trace.trace_id})
        else:
            self._meters.probed(path, status[:3])
        is_head = request.method == "HEAD"
        return answer(status, fields, document, minor=probe.minor, is_kept=is_kept, is_head=is_head)
