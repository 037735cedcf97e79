"""A Redis as it is met: absent, closed, full, a replica, something else; on servers of the tests' own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from imagequeue.doctor.check import Check
from imagequeue.doctor.redisserver import checks
from tests.support.jobs import unable_to_save
from tests.support.redisserver import RedisServer, free_port

PASSWORD = "correct-horse/battery#staple"
WRITTEN = "correct-horse%2Fbattery%23staple"


def look(url: str, clock: Callable[[], float] = time.time, clients: int = 20) -> dict[str, Check]:
    found = checks(url, queue="image_queue", oldest=(6, 2), clients=clients, clock=clock)
    for check in found:
        assert bool(check.fix) == (check.status != "ok"), check
    return {check.name: check for check in found}


@pytest.fixture
def listener() -> Iterator[Callable[[bytes], str]]:
    """Addresses at which every client gets these bytes for an answer."""
    sockets: list[socket.socket] = []

    def make(answer: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.recv(1000)
                    client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"redis://127.0.0.1:{listening.getsockname()[1]}/0"

    yield make
    for one in sockets:
        one.shutdown(socket.SHUT_RDWR)
        one.close()


def test_each_kind_of_server_is_named_and_found_good(each_redis: RedisServer, client: redis.Redis) -> None:
    found = look(each_redis.url)
    assert found["redis"].status == "ok"
    assert f"at {each_redis.url}" in found["redis"].found
    assert {name for name, check in found.items() if check.status != "ok"} <= {"redis security", "redis persistence"}
    assert list(found) == [
        "redis",
        "redis clock",
        "redis security",
        "redis memory",
        "redis persistence",
        "redis clients",
    ]
    assert client.dbsize() == 0, "nothing was written"


def test_where_nothing_listens_it_fails_in_the_networks_words() -> None:
    found = look(f"redis://:{WRITTEN}@127.0.0.1:{free_port()}/0")
    assert list(found) == ["redis"]
    assert found["redis"].status == "failed"
    assert "Connection refused" in found["redis"].found
    assert "make serve starts one" in found["redis"].fix
    assert "horse" not in str(found)


def test_a_missing_and_a_wrong_password_fail_in_its_words_and_none_is_shown(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("requirepass", PASSWORD)
    for url, words in (
        (redis_server.url, "Authentication required"),
        (f"redis://:wrong-{WRITTEN}@127.0.0.1:{redis_server.port}/0", "invalid username-password pair"),
    ):
        found = look(url)
        assert found["redis"].status == "failed"
        assert words in found["redis"].found
        assert "PASSWORD" in found["redis"].fix
        assert "horse" not in str(found)
    found = look(f"redis://:{WRITTEN}@127.0.0.1:{redis_server.port}/0")
    assert found["redis"].status == "ok"
    assert "horse" not in str(found)


def test_an_address_that_is_none_fails_without_its_password() -> None:
    found = look("redis://:secret/word@127.0.0.1:1/0")
    assert found["redis"].status == "failed"
    assert "secret" not in str(found)
    assert found["redis"].fix == "REDIS_URL=redis://host:6379/0"


def test_a_policy_that_drops_jobs_is_a_warning_with_the_command_that_changes_it(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    found = look(redis_server.url)["redis memory"]
    assert found.status == "warning"
    assert "maxmemory-policy allkeys-lru" in found.found
    assert found.fix.endswith("CONFIG SET maxmemory-policy noeviction")


def test_a_replica_fails_and_its_primary_is_named(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.replicaof("127.0.0.1", "1")
    found = look(redis_server.url)["redis"]
    assert found.status == "failed"
    assert "is a replica of 127.0.0.1:1" in found.found
    assert found.fix == "name the primary in REDIS_URL: 127.0.0.1:1"


def test_a_full_one_fails_in_its_words(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
    found = look(redis_server.url)
    assert found["redis"].status == "failed"
    assert "takes no writes: " in found["redis"].found
    assert "maxmemory" in found["redis"].found
    assert "CONFIG SET maxmemory 2gb" in found["redis"].fix
    assert found["redis memory"].status == "warning"


def test_one_that_cannot_save_fails_in_its_words(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        unable_to_save(client)
    found = look(redis_server.url)
    assert found["redis"].status == "failed"
    assert "MISCONF" in found["redis"].found
    assert "make room" in found["redis"].fix
    assert found["redis persistence"].status == "warning"
    assert "saving failed the last time" in found["redis persistence"].found


def test_persistence_that_is_off_is_a_warning_and_each_kind_of_it_is_named(redis_server: RedisServer) -> None:
    found = look(redis_server.url)["redis persistence"]
    assert found.status == "warning"
    assert found.fix.endswith("CONFIG SET appendonly yes")
    with redis_server.client() as client:
        client.config_set("save", "3600 1")
        assert "snapshots (save 3600 1)" in look(redis_server.url)["redis persistence"].found
        client.config_set("appendonly", "yes")
    assert look(redis_server.url)["redis persistence"].found == "append-only file"


def test_a_user_as_the_docs_have_it_is_served_and_that_config_is_refused_is_a_warning(
    redis_server: RedisServer,
) -> None:
    rights = (
        "~image_queue ~{image_queue}:* ~image_queue:limits:* resetchannels &{image_queue}:results:* -@all +@read "
        "+@write +@blocking +@pubsub +@scripting +@connection +@transaction -@dangerous +time +info +client|setname"
    )
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "imagequeue", "on", f">{PASSWORD}", *rights.split())
    found = look(f"redis://imagequeue:{WRITTEN}@127.0.0.1:{redis_server.port}/0")
    assert found["redis"].status == "ok"
    assert found["redis persistence"].status == "warning"
    assert "CONFIG GET is refused" in found["redis persistence"].found
    assert "horse" not in str(found)
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "imagequeue", "+config|get")
    found = look(f"redis://imagequeue:{WRITTEN}@127.0.0.1:{redis_server.port}/0")
    assert "is refused" not in found["redis persistence"].found


def test_a_user_without_info_is_a_warning_and_one_without_the_keys_fails(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "blind", "on", "nopass", "~*", "&*", "+@all", "-info", "-config")
        client.execute_command("ACL", "SETUSER", "stranger", "on", "nopass", "~other", "&*", "+@all")
    found = look(f"redis://blind:x@127.0.0.1:{redis_server.port}/0")
    assert list(found) == ["redis", "redis clock"]
    assert found["redis"].status == "warning"
    assert "INFO is refused: " in found["redis"].found
    found = look(f"redis://stranger:x@127.0.0.1:{redis_server.port}/0")
    assert found["redis"].status == "failed"
    assert "takes no writes: " in found["redis"].found
    assert "docs/security.md#redis" in found["redis"].fix


def test_clocks_that_differ_are_a_warning(redis_server: RedisServer) -> None:
    found = look(redis_server.url, clock=lambda: time.time() + 3600)["redis clock"]
    assert found.status == "warning"
    assert found.found == "this machine's clock is 3600 s ahead of Redis's"
    assert "behind" in look(redis_server.url, clock=lambda: time.time() - 60)["redis clock"].found


def test_too_few_clients_are_a_warning_and_none_left_fails_in_its_words(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxclients", "10")
        found = look(redis_server.url, clients=20)["redis clients"]
        assert found.status == "warning"
        assert "of 10 connected" in found.found
        client.config_set("maxclients", "1")
        client.ping()
        found = look(redis_server.url)["redis"]
    assert found.status == "failed"
    assert "max number of clients" in found.found
    assert "maxclients" in found.fix


@pytest.mark.parametrize(
    ("answer", "words", "fix"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "Protocol", "another kind of server"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading the dataset", "wait until"),
        (b"-DENIED Redis is running in protected mode. In this mode much\r\n", "protected mode", "docs/security.md"),
        (b"-MOVED 9 10.0.0.1:7000\r\n", "10.0.0.1:7000", "without cluster mode"),
        (b"-CLUSTERDOWN Hash slot not served\r\n", "Hash slot not served", "without cluster mode"),
        (b"-NEVERHEARD of this\r\n", "NEVERHEARD of this", "correct REDIS_URL"),
        (b"", "", "correct REDIS_URL"),
    ],
)
def test_an_answer_that_is_not_a_redis_in_service_fails_in_its_words(
    listener: Callable[[bytes], str], answer: bytes, words: str, fix: str
) -> None:
    found = look(listener(answer))["redis"]
    assert found.status == "failed"
    assert words in found.found
    assert "In this mode" not in found.found
    assert fix in found.fix


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagequeue.doctor.redisserver.ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = look(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")["redis"]
    assert found.status == "failed"
    assert "Timeout" in found.found
