"""From the text of a setting to its value. Each raises ValueError that says what would be right, not what was given."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit


def text(value: str) -> str:
    return value


def count(least: int) -> Callable[[str], int]:
    def cast(value: str) -> int:
        if not value.isascii() or not value.isdigit() or int(value) < least:
            raise ValueError(f"a whole number, at least {least}")
        return int(value)

    return cast


def port(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65535:
        raise ValueError("a port, 0 to 65535")
    return int(value)


def redis_url(value: str) -> str:
    try:
        is_known = urlsplit(value).scheme in ("redis", "rediss", "unix") and "://" in value
        # Looked at because it raises for what is no number.
        _ = urlsplit(value).port
    except ValueError:
        is_known = False
    if not is_known:
        raise ValueError("redis://host:port/0, rediss://… or unix:///path")
    return value


def seconds(least: float) -> Callable[[str], float]:
    def cast(value: str) -> float:
        if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value) or float(value) < least:
            raise ValueError(f"seconds, at least {least:g}")
        return float(value)

    return cast


def folder(value: str) -> Path | None:
    try:
        return None if value.lower() == "none" else Path(value).expanduser()
    except RuntimeError:
        raise ValueError("a folder, or none") from None


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where this user's programs keep what can be made again; None for a user without a home."""
    has_home = environment.get("HOME") != "" and os.path.expanduser("~") != "~"
    home = environment.get("XDG_CACHE_HOME") or (os.path.expanduser("~/.cache") if has_home else "")
    return Path(home) / "imagequeue" if home else None


def auto_or_count(value: str) -> int | None:
    """None for auto."""
    if value.lower() == "auto":
        return None
    try:
        return count(1)(value)
    except ValueError as error:
        raise ValueError(f"auto, or {error}") from None


def one_of(*words: str) -> Callable[[str], str]:
    def cast(value: str) -> str:
        if value.lower() not in words:
            raise ValueError("one of " + ", ".join(words))
        return value.lower()

    return cast


def size(value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", value)
    if not match:
        raise ValueError("pixels, as 224 or as 320x240 (width x height)")
    return int(match[1]), int(match[2] or match[1])


def origins(value: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in value.split(","))
    if origins != ("*",) and not all(re.fullmatch(r"https?://[\w.:-]+", origin) for origin in origins):
        raise ValueError("`*`, or origins as https://example.org, separated by commas")
    return origins


def host_names(value: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in value.split(","))
    if names != ("*",) and not all(
        re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*|\[[0-9a-f:.]+\]", name, re.ASCII) for name in names
    ):
        raise ValueError("`*`, or names without a port, as example.org, .example.org or [::1], separated by commas")
    return names


def root_path(value: str) -> str:
    path = value.rstrip("/")
    if path and not re.fullmatch(r"(/(?!\.{1,2}(/|$))[\w.~-]+)+", path, re.ASCII):
        raise ValueError("a path as /images: parts of letters, digits and . _ ~ -, each behind a slash")
    return path


def queue_name(value: str) -> str:
    if not value or set(value) & set("{}"):
        raise ValueError("a name without braces; they would change the queue's cluster slot")
    return value


def server_name(value: str) -> str:
    if not re.fullmatch(r"[\w.:-]{1,100}", value):
        raise ValueError("up to 100 letters, digits and . : _ -")
    return value


def api_keys(value: str) -> tuple[tuple[str, str], ...]:
    """(name, key) pairs; a key without a name gets one made of its digest's first digits.

    Several keys may have one name: the old and the new one of the same client.
    """
    pairs = []
    for entry in value.split(","):
        name, colon, key = (part.strip() for part in entry.strip().partition(":"))
        if not colon:
            name, key = "key-" + hashlib.sha256(name.encode()).hexdigest()[:8], name
        if not re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII) or not re.fullmatch(r"[!-~]+", key):
            raise ValueError(
                "name:key or plain keys, commas between; a name of letters and digits, a key without blanks"
            )
        pairs.append((name, key))
    if len({key for _, key in pairs}) < len(pairs):
        raise ValueError("each key once")
    return tuple(pairs)


def names(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not all(re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII) for name in names):
        raise ValueError("names of API keys, commas between")
    return names


def switch(value: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.lower() not in words:
        raise ValueError("1 or 0")
    return words[value.lower()]


def rate(value: str) -> str:
    if value and not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", value):
        raise ValueError("a number a second, minute, hour or day, as 100/minute")
    return value
