"""What a secret may not do: stand in a message, a representation or a help text."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import redis

from imagequeue.connections import connect, without_secrets
from imagequeue.errors import ConfigurationError
from settings import Settings, help_text, table

NOWHERE = Path("/nonexistent/.env")

# Passwords as people paste them, unescaped, too.
ADDRESSES = [
    "redis://:hunter2@host:6379/0",
    "redis://hunter2:hunter2@host:6379/0",
    "rediss://user:hunter2@host/1",
    "unix://user:hunter2@/run/redis.sock",
    "redis://host?password=hunter2&username=hunter2",
    "redis://:x/hunter2@host:6379/0",
    "redis://:x#hunter2@host:6379/0",
    "redis://:x?hunter2@host:6379/0",
    "redis://user:hunter2@host:port/0",
    "redis://user:hunter2@[::1/0",
    "hunter2@host:6379",
    "user:hunter2@host:6379",
    "://:hunter2@host",
    "http://user:hunter2@host",
]


def is_usable(address: str) -> bool:
    try:
        redis.ConnectionPool.from_url(address)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_its_secrets(address: str) -> None:
    assert "hunter2" not in without_secrets(address)


@pytest.mark.parametrize("address", [address for address in ADDRESSES if not is_usable(address)])
def test_an_address_that_cannot_work_is_refused_without_its_secrets(address: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL") as refused:
        connect(address, name="test")
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_a_host_and_a_port_are_shown_as_they_are() -> None:
    assert without_secrets("redis://u:p@[::1]:6380/2?x=y") == "redis://[::1]:6380/2"
    assert without_secrets("unix:///run/redis.sock") == "unix:///run/redis.sock"


def test_the_settings_represent_themselves_without_secrets_and_so_does_the_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"REDIS_URL": ADDRESSES[0], "API_KEYS": "alice:hunter2", "IMAGEQUEUE_API_KEY": "hunter2"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load(given, NOWHERE)
    assert settings.api_keys == (("alice", "hunter2"),)
    assert settings.imagequeue_api_key == "hunter2"
    assert "hunter2" not in repr(settings) + help_text() + repr(table())


@pytest.mark.parametrize(
    "value",
    ["alice:hunter2,alice:hunter2", "alice:hunter2,bob:hunter2", "hunter2,hunter2", "a b:hunter2", "a:hunter2,"],
)
def test_keys_that_cannot_work_are_refused_by_the_settings_name_alone(value: str) -> None:
    with pytest.raises(ConfigurationError, match="API_KEYS") as refused:
        Settings.load({"API_KEYS": value}, NOWHERE)
    assert "hunter2" not in str(refused.value)


def test_the_old_and_the_new_key_of_a_client_have_one_name() -> None:
    given = {"API_KEYS": "alice:hunter2, alice:hunter3"}
    assert Settings.load(given, NOWHERE).api_keys == (("alice", "hunter2"), ("alice", "hunter3"))


def test_an_admin_is_the_name_of_a_key() -> None:
    given = {"API_KEYS": "alice:hunter2,bob:hunter3"}
    assert Settings.load(given, NOWHERE).api_admins == ()
    assert Settings.load(given | {"API_ADMINS": "bob, alice"}, NOWHERE).api_admins == ("bob", "alice")
    for wrong in ("carol", "alice,carol", "alice,", "hunter2"):
        with pytest.raises(ConfigurationError, match="API_ADMINS"):
            Settings.load(given | {"API_ADMINS": wrong}, NOWHERE)


def test_a_key_without_a_name_is_known_by_the_head_of_its_digest() -> None:
    ((name, key),) = Settings.load({"API_KEYS": "hunter2"}, NOWHERE).api_keys
    assert key == "hunter2"
    assert name.startswith("key-")
    assert len(name) == 12


@pytest.mark.parametrize("value", ["100", "100/fortnight", "0/minute", "-1/minute", "1.5/minute", "a/minute"])
def test_a_rate_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="RATE_LIMIT"):
        Settings.load({"RATE_LIMIT": value}, NOWHERE)
