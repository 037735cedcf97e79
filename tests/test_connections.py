"""The Redis clients: every option as it was pinned, and what Redis or the network does wrong in plain words."""

from __future__ import annotations

import builtins
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    MaxConnectionsError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from imagequeue.connections import (
    connect,
    host_name,
    is_demoted,
    is_in_doubt,
    is_memory_limit,
    is_wrong_type,
    or_none,
    redis_errors,
    without_secrets,
)
from imagequeue.errors import ConfigurationError, RedisDown
from tests.support.redisserver import RedisServer
from tests.support.system import eventually


def test_no_connection_is_opened_before_it_is_needed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        connect(f"redis://127.0.0.1:{server.getsockname()[1]}", name="idle")
        with pytest.raises(builtins.TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("name", "shown"), [("büro", "b%C3%BCro"), ('a "b"', "a%20%22b%22"), ("web-1.lan", "web-1.lan")]
)
def test_a_hosts_name_is_one_that_redis_takes_whatever_it_is(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, name: str, shown: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert host_name() == shown
    client = connect(redis_server.url, name=f"web:{host_name()}:1")
    assert client.client_getname() == f"web:{shown}:1"


def test_connections_are_named_and_speak_resp2(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, name="web:host:1")
    client.ping()
    (mine,) = [c for c in client.client_list() if c["name"] == "web:host:1"]
    assert mine["resp"] == "2"


def test_no_more_connections_than_asked_for_whatever_the_number_of_threads(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, name="pool", size=3)
    threads = [threading.Thread(target=client.blpop, args=(["nothing"], 0.05)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([c for c in client.client_list() if c["name"] == "pool"]) == 3


def test_a_peer_that_is_silent_is_given_up(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, name="silent", answer_seconds=0.1, repeats=0)
    with pytest.raises(RedisDown, match="Redis does not answer"), redis_errors():
        client.blpop(["nothing"], timeout=20)


def test_a_lost_connection_is_made_anew_and_the_command_repeated(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, name="killed")
    client.ping()
    redis_server.client().client_kill_filter(_type="normal", skipme=True)
    assert client.ping()


def test_without_repeats_a_command_that_loses_its_connection_is_told(redis_server: RedisServer) -> None:
    killer = redis_server.client()

    def kill_while_blocked() -> None:
        eventually(lambda: killer.info("clients")["blocked_clients"])
        killer.client_kill_filter(_type="normal", skipme=True)

    thread = threading.Thread(target=kill_while_blocked)
    thread.start()
    with pytest.raises(RedisDown), redis_errors():
        connect(redis_server.url, name="killed", answer_seconds=25, repeats=0).blpop(["nothing"], timeout=20)
    thread.join()


def test_a_unix_socket_is_an_address_too(make_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    server = make_redis(unixsocket=str(tmp_path / "redis.sock"))
    assert server.client().ping()
    assert connect(f"unix://{tmp_path / 'redis.sock'}", name="unix").ping()


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://127.0.0.1", "redis://127.0.0.1:many/0"])
def test_an_address_that_is_none_is_a_mistake_in_the_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        connect(url, name="wrong")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "memory limit"),
        (ResponseError("OOM command not allowed, script: 1f, on @user_script:3."), "memory limit"),
        (ReadOnlyError("You can't write against a read only replica."), "read-only replica"),
        (ResponseError("READONLY You can't write against a read only replica. script: 1f"), "read-only replica"),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), "cannot save"),
        (BusyLoadingError("Redis is loading the dataset in memory"), "loading"),
        (ResponseError("UNBLOCKED force unblock from blocking operation"), "ended a blocking command"),
        (ResponseError("BUSY Redis is busy running a script."), "busy with a long script"),
        (MaxConnectionsError("Too many connections"), "limit of clients"),
        (ConnectionError("max number of clients reached"), "limit of clients"),
        (ConnectionError("Error 111 connecting"), "does not answer"),
        (TimeoutError("Timeout reading from socket"), "does not answer"),
    ],
)
def test_what_redis_cannot_do_now_is_told_in_plain_words(error: RedisError, reason: str) -> None:
    with pytest.raises(RedisDown, match=reason) as found, redis_errors():
        raise error
    assert found.value.__cause__ is error


def test_our_own_mistakes_stay_what_they_are() -> None:
    with pytest.raises(ResponseError, match="wrong number"), redis_errors():
        raise ResponseError("ERR wrong number of arguments for 'set' command")


def test_a_key_of_another_type_is_unavailable_and_one_of_many_answers_is_none() -> None:
    wrong = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    with pytest.raises(RedisDown, match="another type"), redis_errors():
        raise wrong
    assert is_wrong_type(wrong)
    assert not is_wrong_type(ResponseError("OOM command not allowed"))
    assert [or_none(answer) for answer in (wrong, b"text", None, 1)] == [None, b"text", None, 1]
    with pytest.raises(ResponseError, match="OOM"):
        or_none(ResponseError("OOM command not allowed"))


def test_a_full_and_a_demoted_redis_are_told_apart() -> None:
    full, demoted = ResponseError("OOM command not allowed"), ReadOnlyError("You can't write")
    assert (is_memory_limit(full), is_demoted(full)) == (True, False)
    assert (is_memory_limit(demoted), is_demoted(demoted)) == (False, True)
    assert not is_memory_limit(None)
    assert not is_demoted(ValueError("READONLY"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:hunter2@host:6380/3?password=hunter2", "redis://host:6380/3"),
        ("rediss://:hunter2@host/0#hunter2", "rediss://host/0"),
        ("redis://:hunter2@[::1]:6379/0", "redis://[::1]:6379/0"),
        ("unix://:hunter2@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("redis://:hunter2@host:port/0", "(unreadable)"),
        ("redis://:hunter2@[::1/0", "(unreadable)"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_secrets_are_hidden_in_errors_too() -> None:
    with pytest.raises(ConfigurationError) as found:
        connect("redis://:hunter2@host:port/0", name="wrong")
    assert "hunter2" not in str(found.value)


def test_a_refused_password_is_told_without_it(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    server.client().config_set("requirepass", "secret")
    url = server.url.replace("redis://", "redis://:hunter2@")
    with pytest.raises(Exception) as found, redis_errors():  # noqa: PT011 - which one it is, is looked at below
        connect(url, name="wrong").ping()
    assert isinstance(found.value, RedisDown), repr(found.value)
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    ("error", "is_doubtful"),
    [
        (ConnectionError("Connection closed by server."), True),
        (BusyLoadingError("Redis is loading the dataset in memory"), True),
        (ReadOnlyError("You can't write against a read only replica."), True),
        (ResponseError("OOM command not allowed when used memory > 'maxmemory'."), False),
        (ConnectionError("No connection available."), False),
    ],
)
def test_what_failed_may_have_been_done_unless_redis_refuses_before_it_writes_or_nothing_was_sent(
    error: RedisError, is_doubtful: bool
) -> None:
    with pytest.raises(RedisDown) as raised, redis_errors():
        raise error
    assert is_in_doubt(raised.value) == is_doubtful
