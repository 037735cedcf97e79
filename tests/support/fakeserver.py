"""A web server that answers what a test has written for it, for the tests of the clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CASTLE = [("castle", 0.9936), ("monastery", 0.0045), ("church", 0.001)]


@dataclass(frozen=True)
class Reply:
    """body: a JSON document, or bytes as they are sent. is_cut: the connection ends in the middle of the body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False


def answer(predictions: list[tuple[str, float]] | None = None, **more: Any) -> Reply:
    """A right answer of POST /predict for one image."""
    labels = [{"label": label, "probability": probability} for label, probability in predictions or CASTLE]
    return Reply(body={"success": True, "predictions": labels, "id": "1f" * 16, "model": "resnet50"} | more)


def refusal(status: int, code: str, message: str = "Because.", **headers: str) -> Reply:
    body = {"success": False, "error": {"code": code, "message": message}, "id": "1f" * 16}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class FakeServer:
    """Gives each request the next reply; the last one again and again. Or what `choose(number, body)` says."""

    def __init__(self, choose: Callable[[int, bytes], Reply] | None = None) -> None:
        self.replies: list[Reply] = [answer()]
        # (path, headers, body) of each request.
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        lock, fake = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                fake.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    number = len(fake.requests)
                    fake.requests.append((self.path, dict(self.headers), body))
                    reply = fake.replies.pop(0) if len(fake.replies) > 1 else fake.replies[0]
                if choose is not None:
                    # Outside the lock: it may wait for other requests.
                    reply = choose(number, body)
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content) + 100 * reply.is_cut))
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = reply.is_cut

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the terminal of the tests."""

        class Server(ThreadingHTTPServer):
            # Dozens of connections at once; the sixth would be reset with the library's own 5.
            request_queue_size = 128
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
