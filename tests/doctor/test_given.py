"""Settings that cannot be read are reported, and the rest is checked all the same."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from imagequeue.doctor.given import NOWHERE, read
from settings import Settings


def test_settings_that_are_right_are_counted() -> None:
    given = read({"WEB_PORT": "7001", "REDIS_URL": "redis://h:1/0", "PATH": "/bin"}, NOWHERE)
    assert given.check.status == "ok"
    assert given.check.found == "2 set"
    assert given.names == {"WEB_PORT", "REDIS_URL"}
    assert given.settings.web_port == 7001


def test_each_wrong_one_is_named_and_counts_as_not_set() -> None:
    given = read({"WEB_PORT": "many", "MAX_CRASHES": "few", "IMAGE_QUEUE": "mine"}, NOWHERE)
    assert given.check.status == "failed"
    assert "WEB_PORT: 'many'" in given.check.found
    assert "MAX_CRASHES: 'few'" in given.check.found
    assert given.refused == {"WEB_PORT", "MAX_CRASHES"}
    assert given.settings == Settings.load({"IMAGE_QUEUE": "mine"}, NOWHERE)
    assert "docs/settings.md" in given.check.fix


def test_settings_that_do_not_fit_together_are_reported() -> None:
    given = read({"API_ADMINS": "nobody"}, NOWHERE)
    assert given.refused == {"API_ADMINS"}
    assert given.check.status == "failed"


def test_admins_are_not_blamed_for_keys_that_cannot_be_read() -> None:
    given = read({"API_KEYS": "boss:secret boss:other", "API_ADMINS": "boss"}, NOWHERE)
    assert given.refused == {"API_KEYS", "API_ADMINS"}
    assert "API_ADMINS" not in given.check.found


def test_a_secret_is_not_shown() -> None:
    given = read({"REDIS_URL": "http://:hunter2@host", "API_KEYS": "a:hunter2 b"}, NOWHERE)
    assert given.refused == {"REDIS_URL", "API_KEYS"}
    assert "hunter2" not in given.check.found


def test_the_file_is_read_and_one_that_cannot_be_is_reported(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("WEB_PORT=7002\n")
    given = read({}, file)
    assert given.settings.web_port == 7002
    assert given.check.found == "1 set, by the environment and .env"
    file.write_bytes(b"WEB_PORT=\xff\xfe\n")
    given = read({"MODEL": "null"}, file)
    assert given.check.status == "failed"
    assert f"{file} cannot be read" in given.check.found
    assert given.settings.model == "null"


def test_a_file_without_the_package_that_reads_it_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("WEB_PORT=7002\n")
    importing = builtins.__import__

    def without_dotenv(name: str, *more: Any, **named: Any) -> Any:
        if name == "dotenv":
            raise ModuleNotFoundError("No module named 'dotenv'", name="dotenv")
        return importing(name, *more, **named)

    monkeypatch.delitem(sys.modules, "dotenv", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_dotenv)
    given = read({"MODEL": "null"}, file)
    assert given.check.status == "failed"
    assert "the module dotenv is not installed" in given.check.found
    assert given.settings.model == "null"
