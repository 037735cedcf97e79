"""Requests as bytes, over connections that may come from any address of the loopback network, with TLS or without."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from dataclasses import dataclass, field
from email.message import Message

# Attackers, honest clients and the prober come from different addresses, as a proxy that counts them would see them.
HONEST, PROBER = "127.0.0.2", "127.0.0.3"
ATTACKERS = tuple(f"127.0.1.{number}" for number in range(1, 9))
# Linux's, which Python names from 3.12 on: with it a port is chosen when the connection's other end is known.
_BIND_ADDRESS_NO_PORT = 24


@dataclass(frozen=True)
class Address:
    """Where the service is asked: a port of the loopback. host: of the Host header, and of the certificate."""

    port: int
    host: str = "127.0.0.1"
    is_tls: bool = False

    def connect(self, *, source: str = "", timeout: float = 10.0, window: int | None = None) -> socket.socket:
        """timeout: seconds, for each step. window: the most bytes that the kernel takes in unread. Raises OSError."""
        connection = socket.socket()
        try:
            if window is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            connection.settimeout(timeout)
            if source:
                connection.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                connection.bind((source, 0))
            connection.connect(("127.0.0.1", self.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._encrypted(connection) if self.is_tls else connection
        except BaseException:
            connection.close()
            raise

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Its certificate was made a moment ago, for nobody else.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(connection, server_hostname=self.host)

    def head(self, method: str, target: str, *fields: str) -> bytes:
        """A request's head. fields: as `Name: value`; Host is put in unless one of them is a Host."""
        given = fields if any(one.lower().startswith("host:") for one in fields) else (f"Host: {self.host}", *fields)
        return "\r\n".join((f"{method} {target} HTTP/1.1", *given, "", "")).encode("latin-1")

    def post(self, target: str, body: bytes, *fields: str) -> bytes:
        return self.head("POST", target, *fields, f"Content-Length: {len(body)}") + body


@dataclass(frozen=True)
class Reply:
    """A whole answer. status: 0 where there is none, and `error` says why."""

    status: int = 0
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""
    headers: Message = field(default_factory=Message)

    @property
    def outcome(self) -> str:
        return str(self.status) if self.status else self.error


def ask(address: Address, request: bytes, *, source: str = "", timeout: float = 10.0) -> Reply:
    """One request on a new connection, and its answer. timeout: seconds without a byte."""
    started = time.monotonic()
    try:
        with address.connect(source=source, timeout=timeout) as connection:
            # Refused before it was whole, it may have its answer all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            reply = read(connection, request.partition(b" ")[0].decode("latin-1"))
    except (OSError, http.client.HTTPException) as error:
        return Reply(error=type(error).__name__, seconds=time.monotonic() - started)
    return Reply(reply.status, reply.body, time.monotonic() - started, headers=reply.headers)


def read(connection: socket.socket, method: str = "GET") -> Reply:
    """The next answer. Raises OSError and HTTPException."""
    # An unknown method's answer has a body as any other.
    response = http.client.HTTPResponse(connection, method=method if method == "HEAD" else "GET")
    try:
        response.begin()
        return Reply(response.status, response.read(), headers=response.headers)
    finally:
        response.close()
