"""A TCP proxy in front of Redis that understands just enough of its protocol to fail on purpose.

It knows each connection by the name that CLIENT SETNAME gave it (`…:doorbell`, `…:waiter`), counts commands, and
pairs them with their answers. So a test says "lose the answer of the second claim", not "cut after 3,412 bytes".
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib import resources
from typing import IO

from tests.support.redisserver import RedisServer

Command = list[bytes]


def script(verb: str) -> Callable[[Command], bool]:
    """Matches EVALSHA of lua/<verb>.lua."""
    lua = resources.files("imagequeue") / "lua"
    text = (lua / "prelude.lua").read_text() + (lua / f"{verb}.lua").read_text()
    sha = hashlib.sha1(text.encode()).hexdigest().encode()
    return lambda command: command[0].upper() == b"EVALSHA" and command[1] == sha


def transaction() -> Callable[[Command], bool]:
    """Matches the end of a transaction; enqueue.lua is sent in one, and nothing else is."""
    return word("EXEC")


def word(name: str) -> Callable[[Command], bool]:
    """Matches a command by its name."""
    return lambda command: command[0].upper() == name.encode()


class Rule:
    """What happens to commands that match, and how often it has happened."""

    def __init__(self, matches: Callable[[Command], bool], fate: str, nth: int, times: int, every: int) -> None:
        self._matches = matches
        self._fate = fate
        self._hits = range(nth, nth + times * every, every)
        self._seen = 0
        self._lock = threading.Lock()
        self.seconds = 0.0
        self.act: Callable[[], object] = lambda: None
        self.happened = 0

    def cancel(self) -> None:
        """From now on nothing happens to anything."""
        self._hits = range(0)

    def fate_of(self, command: Command) -> str:
        if not self._matches(command):
            return ""
        with self._lock:
            self._seen += 1
            if self._seen not in self._hits:
                return ""
            self.happened += 1
        self.act()
        return self._fate


class Link:
    """One client's connection and its other end in Redis, with a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.name = ""
        self.is_silent = False
        self._proxy = proxy
        self._client, self._server = client, server
        # The fates of the commands whose answers are still to come, in order.
        self._pending: deque[str] = deque()
        self._is_subscribed = False
        self._is_cut = threading.Event()
        for work in (self._down, self._up):
            threading.Thread(target=work, daemon=True).start()

    @property
    def is_cut(self) -> bool:
        return self._is_cut.is_set()

    def cut(self) -> None:
        self._is_cut.set()
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._proxy._forget(self)

    def _down(self) -> None:
        """Commands, to Redis."""
        with contextlib.suppress(OSError, EOFError), self._client.makefile("rb") as file:
            reader = Reader(file)
            while True:
                command, raw = reader.command()
                if command[:2] == [b"CLIENT", b"SETNAME"]:
                    self.name = command[2].decode()
                self._is_subscribed = self._is_subscribed or command[0].upper() == b"SUBSCRIBE"
                fate = self._proxy._fate_of(command)
                self._wait_while_silent()
                if fate == "lose command":
                    break
                self._pending.append(fate)
                self._server.sendall(raw)
        self.cut()

    def _up(self) -> None:
        """Answers, to the client."""
        with contextlib.suppress(OSError, EOFError), self._server.makefile("rb") as file:
            reader = Reader(file)
            while True:
                raw = reader.answer()
                is_message = self._is_subscribed and raw.startswith(b"*3\r\n$7\r\nmessage\r\n")
                fate = "" if is_message or not self._pending else self._pending.popleft()
                if is_message and self._proxy.lose_messages:
                    continue
                self._wait_while_silent()
                if fate == "lose answer":
                    break
                if fate == "silence":
                    self.is_silent = True
                    self._wait_while_silent()
                time.sleep(self._proxy.delay)
                self._client.sendall(raw)
        self.cut()

    def _wait_while_silent(self) -> None:
        """A black hole: the connection stands, and nothing comes through it in either direction."""
        while self.is_silent or self._proxy._is_silent(self.name):
            # The client may give it up meanwhile.
            if self._is_cut.wait(0.01) or not self._client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise EOFError


class Reader:
    """RESP2, read off a socket whole value by whole value, as the bytes that it came in."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def command(self) -> tuple[Command, bytes]:
        head = self._line()
        raw, words = [head], []
        for _ in range(int(head[1:])):
            size = self._line()
            body = self._exactly(int(size[1:]) + 2)
            raw += [size, body]
            words.append(body[:-2])
        return words, b"".join(raw)

    def answer(self) -> bytes:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$" and int(rest) >= 0:
            return line + self._exactly(int(rest) + 2)
        if kind == b"*":
            return line + b"".join(self.answer() for _ in range(max(0, int(rest))))
        return line

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        return line

    def _exactly(self, size: int) -> bytes:
        body = self._file.read(size)
        if len(body) != size:
            raise EOFError
        return body


class Proxy:
    """Listens on a port of its own; `lead_to` says which Redis new connections reach."""

    def __init__(self, server: RedisServer) -> None:
        self.delay = 0.0
        self.lose_messages = False
        self._upstream = server.port
        self._rules: list[Rule] = []
        self._silent: tuple[str, ...] = ()
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def lead_to(self, server: RedisServer) -> None:
        """As an address that moves to another machine: connections that stand stay where they are."""
        self._upstream = server.port

    def lose_answer(self, matches: Callable[[Command], bool], nth: int = 1, times: int = 1, every: int = 1) -> Rule:
        """Redis obeys the n-th command that matches from now on; its answer is thrown away, the connection cut."""
        return self._add(Rule(matches, "lose answer", nth, times, every))

    def lose_command(self, matches: Callable[[Command], bool], nth: int = 1, times: int = 1, every: int = 1) -> Rule:
        """The connection is cut before the n-th command that matches reaches Redis."""
        return self._add(Rule(matches, "lose command", nth, times, every))

    def silence_after(self, matches: Callable[[Command], bool], nth: int = 1, times: int = 1, every: int = 1) -> Rule:
        """Redis obeys, nobody hears of it, and the connection stands as a black hole."""
        return self._add(Rule(matches, "silence", nth, times, every))

    def before(self, matches: Callable[[Command], bool], act: Callable[[], object]) -> Rule:
        """`act` is called before the next command that matches reaches Redis."""
        rule = self._add(Rule(matches, "act", 1, 1, 1))
        rule.act = act
        return rule

    def names(self) -> list[str]:
        """Of the connections that stand now."""
        with self._lock:
            return sorted(link.name for link in self._links)

    def silence(self, *ends_of_names: str) -> list[Link]:
        """Connections that stand now and whose names end so become black holes for good; returns them."""
        with self._lock:
            links = [link for link in self._links if link.name.endswith(ends_of_names)]
        for link in links:
            link.is_silent = True
        return links

    def silence_also_new(self, *ends_of_names: str) -> None:
        """Connections of such names are black holes, however often they are made, until the next call."""
        self._silent = ends_of_names

    def cut(self, end_of_name: str = "") -> int:
        """End all connections that stand now and whose names end so; returns how many."""
        with self._lock:
            links = [link for link in self._links if link.name.endswith(end_of_name)]
        for link in links:
            link.cut()
        return len(links)

    def stop(self) -> None:
        self._listener.close()
        self.cut()

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def _fate_of(self, command: Command) -> str:
        return next((fate for rule in self._rules if (fate := rule.fate_of(command))), "")

    def _is_silent(self, name: str) -> bool:
        return bool(self._silent) and name.endswith(self._silent)

    def _forget(self, link: Link) -> None:
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._links.add(Link(self, client, server))
