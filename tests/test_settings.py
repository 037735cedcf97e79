"""The table of settings: every cast, every refusal by name, the file behind the environment."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import settings as settings_module
from imagequeue.errors import ConfigurationError
from imagequeue.waiter import FORGET_AFTER
from settings import Settings, given_by_user, help_text, table
from tests.support.system import ROOT

NOWHERE = Path("/nonexistent/.env")


def load(**given: str) -> Settings:
    return Settings.load(given, NOWHERE)


def test_every_default_passes_its_own_cast() -> None:
    for row in dataclasses.fields(Settings):
        default = getattr(load(), row.name)
        text = "x".join(map(str, default)) if isinstance(default, tuple) else str(default)
        if default is not None and text:
            assert row.metadata["cast"](text) == default, row.name


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("REDIS_URL", "rediss://u:p@host:1/2", "rediss://u:p@host:1/2"),
        ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("WEB_PORT", "0", 0),
        ("WEB_PORT", "65535", 65535),
        ("REQUEST_TIMEOUT", "0.05", 0.05),
        ("REQUEST_TIMEOUT", "12", 12.0),
        ("DRAIN_SECONDS", ".5", 0.5),
        ("RESULT_TTL", str(FORGET_AFTER), FORGET_AFTER),
        ("IMAGE_SIZE", "320x240", (320, 240)),
        ("IMAGE_SIZE", "299", (299, 299)),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("LOG_FORMAT", "JSON", "json"),
        ("LOG_REDIS", "1", True),
        ("LOG_REDIS", "off", False),
        ("SERVER_NAME", "web-1.example:a", "web-1.example:a"),
        ("CORS_ORIGINS", "*", ("*",)),
        ("CORS_ORIGINS", "https://a.example, http://b.example:8080", ("https://a.example", "http://b.example:8080")),
        ("MODEL_LABELS", "labels with spaces.txt", "labels with spaces.txt"),
        ("ALLOWED_HOSTS", "Images.Example.org, .example.net,[::1]", ("images.example.org", ".example.net", "[::1]")),
        ("ALLOWED_HOSTS", "*", ("*",)),
        ("ROOT_PATH", "/images/", "/images"),
        ("ROOT_PATH", "/a/b-c_d.e~f", "/a/b-c_d.e~f"),
        ("ROOT_PATH", "/", ""),
    ],
)
def test_a_value_is_cast(name: str, text: str, value: object) -> None:
    assert getattr(load(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "redis://localhost:many"),
        ("IMAGE_QUEUE", "a{b}"),
        ("SERVER_NAME", "two words"),
        ("SERVER_NAME", "a\nb"),
        ("WEB_PORT", "http"),
        ("WEB_PORT", "-1"),
        ("WEB_PORT", "65536"),
        ("WEB_PORT", "٣"),
        ("WEB_PROCESSES", "0"),
        ("WEB_THREADS", "8"),
        ("MAX_BATCH_SIZE", "1.5"),
        ("MAX_BATCH_SIZE", "9" * 5000),
        ("REQUEST_TIMEOUT", "0"),
        ("REQUEST_TIMEOUT", "nan"),
        ("REQUEST_TIMEOUT", "inf"),
        ("REQUEST_TIMEOUT", "1e3"),
        ("POLL_INTERVAL", "-1"),
        ("RESULT_TTL", str(FORGET_AFTER - 0.1)),
        ("IMAGE_SIZE", "0"),
        ("IMAGE_SIZE", "224x"),
        ("IMAGE_SIZE", "99999"),
        ("CORS_ORIGINS", "a.example"),
        ("CORS_ORIGINS", "https://a.example/"),
        ("CORS_ORIGINS", "https://.*"),
        ("CORS_ORIGINS", "*, https://a.example"),
        # flask-cors would take it for a regular expression.
        ("CORS_ORIGINS", "http://[::1]:5000"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("ALLOWED_HOSTS", "https://example.org"),
        ("ALLOWED_HOSTS", "example.org:5000"),
        ("ALLOWED_HOSTS", "*,example.org"),
        ("ALLOWED_HOSTS", "a,,b"),
        ("ROOT_PATH", "images"),
        ("ROOT_PATH", "//images"),
        ("ROOT_PATH", "/../images"),
        ("ROOT_PATH", "/images/.."),
        ("ROOT_PATH", "/im ages"),
        ("ROOT_PATH", "/images?x"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as found:
        load(**{name: text})
    assert found.value.message.startswith(f"{name}: ")
    assert "Expected: " in found.value.message


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("# a comment\nWEB_PORT=7001\nIMAGE_QUEUE='from file'\nMODEL=${HOME}\nOTHER=thing\n")
    found = Settings.load({"WEB_PORT": "7002"}, dotenv)
    assert found.web_port == 7002
    assert found.image_queue == "from file"
    assert found.model == "${HOME}", "taken as it stands"
    assert found.web_host == "127.0.0.1"


def test_without_a_file_no_package_is_needed_to_read_the_environment() -> None:
    program = "import settings; print(settings.Settings.load().web_port)"
    environment = {**os.environ, "WEB_PORT": "7003", "PYTHONPATH": str(ROOT)}
    if not settings_module.DOTENV.exists():
        printed = subprocess.run(
            [sys.executable, "-S", "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert printed.stdout == "7003\n"


def test_a_bad_value_in_the_file_is_refused_by_name_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_CRASHES=often\n")
    with pytest.raises(ConfigurationError, match="MAX_CRASHES"):
        Settings.load({}, tmp_path / ".env")


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WEB_PORT=\nMODEL\n")
    assert Settings.load({"WEB_PORT": "", "MODEL_LABELS": ""}, tmp_path / ".env") == Settings.load({}, NOWHERE)
    assert "WEB_PORT" not in given_by_user({"WEB_PORT": ""}, NOWHERE)


def test_a_refused_address_is_shown_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as found:
        load(REDIS_URL="http://user:hunter2@host/0")
    assert "hunter2" not in str(found.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().web_port = 1  # type: ignore[misc]


def test_a_hosts_name_that_would_break_a_log_line_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module.socket, "gethostname", lambda: "my host\n")
    assert load().server_name == "my-host-"


def test_the_help_names_every_setting_with_its_default() -> None:
    text = help_text()
    for name, default, meaning in table():
        assert re.search(rf"^  {name} \[{re.escape(default)}\] +{re.escape(meaning)}$", text, re.MULTILINE), name


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_script_with_a_bad_setting_ends_with_2_and_one_line_that_names_it() -> None:
    ended = run("run_web_server.py", WEB_THREADS="many")
    assert ended.returncode == 2
    assert ended.stderr == "WEB_THREADS: 'many' does not do. Expected: a whole number, at least 9.\n"


def test_help_prints_the_table() -> None:
    ended = run("run_web_server.py", "--help")
    assert ended.returncode == 0
    assert "REQUEST_TIMEOUT [30]" in ended.stdout
    assert "hunter2" not in run("run_web_server.py", "--help", REDIS_URL="redis://:hunter2@host/0").stdout
