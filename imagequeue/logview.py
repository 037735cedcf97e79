"""Which lines of the log a person wants to see, and their colours on a terminal."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

# What every line begins with, in this order.
HEAD = ("time", "server", "script", "level", "action")
LEVELS = ("debug", "info", "warning", "error")
# A job's lines name it by its id; those of its request by others.
IDS = ("job", "request", "trace")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_COLOURS = {"DEBUG": _DIM, "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}


def seconds_of(text: str) -> float:
    """5m → 300. Raises argparse's error for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError("a number and s, m, h or d, as 5m")
    return float(match[1]) * _UNITS[match[2]]


def is_wanted(content: Mapping[str, object], *, job: str = "", server: str = "", level: str = "debug") -> bool:
    """job: an id, or how it begins. level: the least. A level that is none of LEVELS is above them all."""
    shown = str(content.get("level", "")).lower()
    return (
        (not job or any(str(content.get(name, "")).startswith(job) for name in IDS))
        and (not server or content.get("server") == server)
        and (shown not in LEVELS or LEVELS.index(shown) >= LEVELS.index(level))
    )


def painted(line: str) -> str:
    """A line of text with its action in bold, its level in its colour, and all that repeats itself dimmed."""
    time, server, script, level, action, *rest = line.split(" ", len(HEAD))
    fields = re.sub(r"(^| )(\w+=)", rf"\1{_DIM}\2{_PLAIN}", " ".join(rest))
    shown = f"{_COLOURS[level]}{level}{_PLAIN}" if level in _COLOURS else level
    return f"{_DIM}{time} {server} {script}{_PLAIN} {shown} {_BOLD}{action}{_PLAIN} {fields}".rstrip()
