"""The Redis clients, every option pinned, because each default has been somebody's outage.

How many connections a process opens depends on what the process is, never on how many requests it serves:
the pool is bounded and a thread waits for its turn. A web process holds POOL_SIZE + 2 (the subscription, the traces),
with RATE_LIMIT two more; a worker three: commands, doorbell, heartbeat. With LOG_REDIS each process has one more.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError, ReadOnlyError, RedisError, TimeoutError
from redis.retry import Retry

from imagequeue.errors import ConfigurationError, NoConnection, RedisDown, RedisSilent

# A command takes under a millisecond, so four of them at a time keep hundreds of requests moving.
POOL_SIZE = 4
# Longer than any command or script takes; a peer silent for that long is gone, not slow.
ANSWER_SECONDS = 3.0
CONNECT_SECONDS = 1.0
# How long a thread waits for a connection while others use the pool.
POOL_WAIT_SECONDS = 3.0


# What Redis says when it is there but cannot serve: at its memory limit, after a failed save (a full disk), as a
# replica after a failover, while it loads, at its limit of clients. redis-py makes the first word of some answers
# a class and drops it from the text, and scripts wrap some, so either is looked for.
_UNABLE = {
    ("OOM", "OutOfMemoryError"): "Redis has reached its memory limit",
    ("MISCONF",): "Redis cannot save to its disk",
    ("READONLY", "ReadOnlyError"): "Redis is a read-only replica now",
    ("LOADING", "BusyLoadingError"): "Redis is loading its data",
    ("MASTERDOWN", "MasterDownError"): "Redis has lost its master",
    ("NOREPLICAS",): "Redis has too few replicas",
    ("CLUSTERDOWN", "ClusterDownError"): "the Redis cluster is down",
    ("UNBLOCKED",): "Redis ended a blocking command",
    ("BUSY ", "BusyLoading"): "Redis is busy with a long script",
    ("AuthenticationError", "WRONGPASS", "NOAUTH"): "Redis refuses the user or the password",
    ("NOPERM", "NoPermissionError"): "Redis does not permit this user what is needed",
    ("max number of clients", "MaxConnectionsError"): "Redis has reached its limit of clients",
    ("WRONGTYPE",): "Redis holds something of another type under a key of the queue",
    # Something in Redis that no script expects is no reason to end; a mistake of a script's own is as loud in the log.
    ("user_script", "Error running script"): "Redis could not finish a script of the queue",
}


def _reason(error: RedisError) -> str | None:
    said = f"{type(error).__name__} {error}"
    return next((text for words, text in _UNABLE.items() if any(word in said for word in words)), None)


def is_memory_limit(error: BaseException | None) -> bool:
    return isinstance(error, RedisError) and _reason(error) == _UNABLE[("OOM", "OutOfMemoryError")]


def is_in_doubt(error: BaseException) -> bool:
    """Whether what was asked for may have been done, and no answer told so. At its memory limit Redis refuses before
    it writes, and without a connection nothing was sent.
    """
    is_certain = isinstance(error, NoConnection) or is_memory_limit(error.__cause__)
    return isinstance(error, RedisDown) and not is_certain


def is_wrong_type(error: BaseException | None) -> bool:
    return isinstance(error, RedisError) and _reason(error) == _UNABLE[("WRONGTYPE",)]


def or_none(answer: Any) -> Any:
    """One answer of a pipeline that raises none of its errors; None for a key of another type. Raises any other."""
    if is_wrong_type(answer):
        return None
    if isinstance(answer, RedisError):
        raise answer
    return answer


def is_demoted(error: BaseException | None) -> bool:
    return isinstance(error, RedisError) and _reason(error) == _UNABLE[("READONLY", "ReadOnlyError")]


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns what redis-py raises into RedisDown: NoConnection where nothing was sent, RedisSilent where no answer came.

    A ResponseError that is our own mistake stays as it is.
    """
    try:
        yield
    except RedisError as error:
        # The pool has no class of its own for that nobody has given a connection back in time.
        if str(error) == "No connection available.":
            raise NoConnection("All connections of this process to Redis are in use.") from error
        reason = _reason(error)
        if reason is not None:
            raise RedisDown(f"{reason}.") from error
        if isinstance(error, (ConnectionError, TimeoutError)):
            raise RedisSilent("Redis does not answer.") from error
        raise


def connect(
    url: str, *, name: str, size: int = 1, answer_seconds: float = ANSWER_SECONDS, repeats: int = 1
) -> redis.Redis:
    """A client with its own pool of at most `size` connections; opens none of them yet.

    name: shown by CLIENT LIST. answer_seconds: for a blocking command, more than it blocks.
    repeats: how often a command whose answer was lost is sent again; each script here allows it.
    Raises ConfigurationError for an address that is none.
    """
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=size,
            timeout=POOL_WAIT_SECONDS,
            socket_timeout=answer_seconds,
            socket_connect_timeout=CONNECT_SECONDS,
            # Known to leave a dead peer unnoticed for hours otherwise, on an idle connection.
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            # Sends PINGs but never looks for the PONG: the waiter and the lease have beats of their own.
            health_check_interval=0,
            # A failover answers READONLY until the client connects again, which a repeat does.
            retry=Retry(
                ExponentialWithJitterBackoff(cap=0.5, base=0.05),
                repeats,
                (ConnectionError, TimeoutError, ReadOnlyError),
            ),
            retry_on_error=[ReadOnlyError],
            # RESP3 mixes pushed messages into the answers; nothing here wants that.
            protocol=2,
            client_name=name,
            # CLIENT SETINFO: two more commands at each connect, unknown to Redis 6.2.
            driver_info=None,
            decode_responses=False,
        )
    except ValueError:
        # Without its cause: what could not be parsed may be the middle of a password.
        raise ConfigurationError(
            f"REDIS_URL: {without_secrets(url)!r} is no Redis address; expected is redis://host:6379/0, rediss://…, or "
            "unix:///path. Characters such as / # ? @ in a password must be percent-encoded."
        ) from None
    return redis.Redis(connection_pool=pool)


def host_name() -> str:
    """This host, as it stands in the names of clients, workers and channels.

    Redis takes only printable ASCII as a client's name, and a job's head has room for no other; what a host's name has
    beyond it is percent-encoded, so that two hosts stay two.
    """
    return quote(os.fsencode(socket.gethostname()), safe="")


def without_secrets(url: str) -> str:
    """The address as it may stand in a log: no user, no password, no query."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable)"
    # A password with an unescaped / ? or # ends the host early; what follows is the rest of it.
    if not parts.scheme or "@" in parts.path + parts.query + parts.fragment:
        return "(unreadable)"
    return f"{parts.scheme}://{host}{port}{parts.path}"
