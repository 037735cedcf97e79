"""The result of one check: what was found, and the line that fixes it."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, FAILED = "ok", "warning", "failed"


@dataclass(frozen=True)
class Check:
    """status: `ok`; `warning`, the service runs but somebody should act; `failed`, part of the service cannot run.

    found: what is there, without a secret. fix: a command, a setting or a sentence; empty where nothing is to be done.
    """

    name: str
    status: str
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    return Check(name, OK, found)


def warning(name: str, found: str, fix: str) -> Check:
    return Check(name, WARNING, found, fix)


def failed(name: str, found: str, fix: str) -> Check:
    return Check(name, FAILED, found, fix)
