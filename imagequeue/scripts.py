"""The Lua files of lua/, as functions that Redis runs: known to it by their digests, sent in full when it forgets."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import Any

import redis
from redis.exceptions import NoScriptError

VERBS = ("enqueue", "claim", "complete", "fail", "heartbeat", "release", "reap", "requeue", "overview", "mend")


class Scripts:
    """All of them, for one client. `redis.Redis.register_script` does the same less well: see `run`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        lua = resources.files("imagequeue") / "lua"
        prelude = (lua / "prelude.lua").read_text()
        self._texts = {verb: prelude + (lua / f"{verb}.lua").read_text() for verb in VERBS}
        self._digests = {verb: hashlib.sha1(text.encode()).hexdigest() for verb, text in self._texts.items()}

    def text(self, verb: str) -> str:
        """lua/<verb>.lua as Redis needs it: without the words for people, for it may be sent with each call."""
        return re.sub(r"(?m)^\s*(--.*\n)?", "", self._texts[verb])

    def run(self, verb: str, key: str, *args: bytes | str | float) -> Any:
        """What lua/<verb>.lua returns for KEYS[1] and ARGV. Raises redis.RedisError."""
        try:
            return self._client.evalsha(self._digests[verb], 1, key, *args)
        except NoScriptError:
            # Restarted, or told to forget. EVAL brings the text along, so it cannot be forgotten again in between, as
            # it can between the SCRIPT LOAD and the EVALSHA that redis-py sends.
            return self._client.eval(self._texts[verb], 1, key, *args)
