"""What Redis was told, word by word: MONITOR on a connection of its own."""

from __future__ import annotations

import threading
from collections import Counter

import redis


class Monitor:
    """Counts commands by who sent them while the block runs; what scripts do inside counts apart, as `lua`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._names: dict[str, str] = {}
        self._seen: list[tuple[str, str]] = []

    def __enter__(self) -> Monitor:
        self._monitor = self._client.monitor()
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def _read(self) -> None:
        while True:
            entry = self._monitor.next_command()
            command = str(entry["command"]).split(" ", 1)[0].upper()
            if command == "ECHO" and "end-of-monitoring" in str(entry["command"]):
                return
            sender = "lua" if entry["client_type"] == "lua" else f"{entry['client_address']}:{entry['client_port']}"
            self._seen.append((sender, command))

    def __exit__(self, *exception: object) -> None:
        # The names of those who are still connected; MONITOR itself gives addresses.
        self._names = {str(c["addr"]): str(c["name"]) for c in self._client.client_list()}
        self._client.echo("end-of-monitoring")
        self._thread.join(timeout=20)
        self._monitor.__exit__(None, None, None)

    def commands(self, sender: str) -> Counter[str]:
        """How often each command came from the clients whose name begins with `sender` (`web`, `worker`, `lua`)."""
        return Counter(
            command for address, command in self._seen if self._names.get(address, address).startswith(sender)
        )
