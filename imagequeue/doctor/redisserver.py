"""The Redis that REDIS_URL names: whether it answers, takes writes, and is set up so that no job is lost.

It is asked through the service's own client, so what fails here fails there. An answer that nobody foresaw is shown in
Redis's words. Nothing is written: the one write that is tried changes nothing where it is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imagequeue.doctor import advisories, release
from imagequeue.doctor.check import Check, failed, ok, warning
from imagequeue.doctor.release import version_text
from imagequeue.plaintext import shortened_middle

ANSWER_SECONDS = 2.0
# Deadlines are by Redis's clock alone; a larger difference than this makes logs of several machines hard to compare.
MOST_SKEW = 2.0
# Of maxmemory. At all of it new jobs are refused.
NEARLY_FULL = 0.9
_CLI = 'redis-cli -u "$REDIS_URL"'
_RIGHTS = "give this user the rights in docs/security.md#redis"

# From words of an answer, or the name of redis-py's class for it, to what helps.
_FIXES = (
    (("AuthenticationError", "WRONGPASS", "NOAUTH"), "REDIS_URL=redis://USER:PASSWORD@host:6379/0, percent-encoded"),
    (("NoPermissionError", "NOPERM"), _RIGHTS),
    (("protected mode",), "give it a password, or another address to listen on: docs/security.md#redis"),
    (("BusyLoadingError", "LOADING"), "wait until Redis has loaded its data, then try again"),
    (("MISCONF",), f"make room on Redis's disk, then {_CLI} BGSAVE"),
    (("OutOfMemoryError", "OOM"), f"{_CLI} CONFIG SET maxmemory 2gb, or start workers to drain the queue"),
    (("ReadOnlyError", "READONLY", "MASTERDOWN"), "name the primary in REDIS_URL"),
    (("MovedError", "MOVED", "ClusterDownError", "CLUSTERDOWN"), "name a Redis without cluster mode in REDIS_URL"),
    (("max number of clients",), f"{_CLI} CONFIG SET maxclients 10000, or end other clients"),
    (("InvalidResponse", "Protocol"), "another kind of server answers there; correct REDIS_URL"),
    (("DB index",), "end REDIS_URL with /0, or raise `databases` in redis.conf"),
    (("SSL", "CERTIFICATE"), "rediss:// is for TLS; ?ssl_ca_certs=/path names an authority: docs/security.md#redis"),
)
_ELSEWHERE = "start it, correct REDIS_URL, or unset REDIS_URL: then make serve starts one"


@dataclass(frozen=True)
class Answers:
    """What Redis answers to each question; an Exception where it refuses to.

    info: of INFO. saves: of CONFIG GET save. write: of a write that changes nothing. skew: seconds by which this
    machine's clock is ahead of Redis's, None where Redis does not give the time.
    """

    info: dict[str, Any] | Exception
    saves: dict[str, Any] | Exception
    write: int | Exception
    skew: float | None

    @property
    def is_refusal(self) -> bool:
        """Whether Redis refuses each of them, as where this address or user may do nothing at all."""
        return self.skew is None and all(isinstance(one, Exception) for one in (self.info, self.saves, self.write))


def checks(
    url: str, *, queue: str, oldest: tuple[int, ...], clients: int, clock: Callable[[], float] = time.time
) -> Sequence[Check]:
    """queue: the waiting list's key. oldest: the oldest version that is served. clients: connections that this
    machine's processes will open. clock: Unix seconds.
    """
    from redis import RedisError

    from imagequeue.connections import connect, without_secrets
    from imagequeue.errors import ConfigurationError

    shown = without_secrets(url)
    try:
        with connect(url, name="doctor", answer_seconds=ANSWER_SECONDS, repeats=0) as client:
            answers = _ask(client, f"{{{queue}}}:probe", clock)
    except ConfigurationError as error:
        return [failed("redis", error.message, "REDIS_URL=redis://host:6379/0")]
    except RedisError as error:
        return [failed("redis", f"{shown}: {_words(error)}", _fix(error))]
    if answers.is_refusal and isinstance(answers.info, Exception):
        return [failed("redis", f"{shown}: {_words(answers.info)}", _fix(answers.info))]
    found = [_server(shown, answers, oldest), *_clock(answers)]
    if not isinstance(answers.info, Exception):
        info = answers.info
        found += [
            advisories.check(*release.of_info(info)),
            _memory(info),
            _persistence(info, answers.saves),
            _clients(info, clients),
        ]
    return found


def _ask(client: Any, key: str, clock: Callable[[], float]) -> Answers:
    """Raises RedisError where Redis no longer answers at all."""
    info = _asked(client.info)
    saves = _asked(lambda: client.config_get("save"))
    # Judged as any write that needs memory; it writes nothing, since nothing is given.
    write = _asked(lambda: client.setrange(key, 0, ""))
    before = clock()
    now = _asked(client.time)
    skew = None if isinstance(now, Exception) else (before + clock()) / 2 - (now[0] + now[1] / 1e6)
    return Answers(info, saves, write, skew)


def _asked(command: Callable[[], Any]) -> Any:
    """The answer, or Redis's refusal."""
    from redis import ConnectionError, RedisError, TimeoutError

    try:
        return command()
    except (ConnectionError, TimeoutError):
        raise
    except RedisError as error:
        return error


def _words(error: BaseException) -> str:
    """What Redis or the network says, on one line, without an end."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    # Its first sentence says it, and a page of advice follows.
    text = text.split(" In this mode")[0]
    return shortened_middle(text or kind, 200).rstrip(". ")


def _fix(error: BaseException) -> str:
    said = f"{type(error).__name__} {error}"
    return next((fix for words, fix in _FIXES if any(word in said for word in words)), _ELSEWHERE)


def _server(shown: str, answers: Answers, oldest: tuple[int, ...]) -> Check:
    info = {} if isinstance(answers.info, Exception) else answers.info
    product, version = release.of_info(info)
    named = f"{product} {version_text(version)} at {shown}" if info else shown
    if info and version < oldest:
        return failed("redis", f"{named} is too old", f"upgrade to {version_text(oldest)} or newer")
    if info.get("role") == "slave":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        return failed("redis", f"{named} is a replica of {primary}", f"name the primary in REDIS_URL: {primary}")
    if isinstance(answers.write, Exception):
        return failed("redis", f"{named} takes no writes: {_words(answers.write)}", _fix(answers.write))
    if isinstance(answers.info, Exception):
        return warning("redis", f"{named} answers; INFO is refused: {_words(answers.info)}", _RIGHTS)
    if info.get("cluster_enabled"):
        return warning("redis", f"{named} is in cluster mode", "name a Redis without cluster mode in REDIS_URL")
    return ok("redis", named)


def _memory(info: dict[str, Any]) -> Check:
    name, policy = "redis memory", str(info.get("maxmemory_policy", "unknown"))
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    found = f"{used / 1e6:.0f} MB used of {f'{limit / 1e6:.0f} MB' if limit else 'any'}, maxmemory-policy {policy}"
    if policy != "noeviction":
        lost = "" if limit else " once a limit is set"
        return warning(name, f"{found}: Redis drops jobs{lost}", f"{_CLI} CONFIG SET maxmemory-policy noeviction")
    if limit and used > NEARLY_FULL * limit:
        return warning(name, f"{found}: new jobs will be refused", f"{_CLI} CONFIG SET maxmemory {2 * limit}")
    return ok(name, found)


def _persistence(info: dict[str, Any], saves: dict[str, Any] | Exception) -> Check:
    name = "redis persistence"
    on = f"{_CLI} CONFIG SET appendonly yes"
    for key, what in (("aof_last_write_status", "writing the append-only file"), ("rdb_last_bgsave_status", "saving")):
        if info.get(key, "ok") != "ok":
            return warning(name, f"{what} failed the last time", f"make room on Redis's disk, then {_CLI} BGSAVE")
    if info.get("aof_enabled"):
        return ok(name, "append-only file")
    if isinstance(saves, Exception):
        refusal = f"CONFIG GET is refused ({_words(saves)}): whether snapshots are saved is unknown"
        return warning(name, f"no append-only file; {refusal}", on)
    if saves.get("save"):
        return ok(name, f"snapshots (save {saves['save']}); a crash loses the jobs since the last one")
    return warning(name, "off: a restart of Redis loses the jobs that wait; their clients get 503 job_lost", on)


def _clients(info: dict[str, Any], wanted: int) -> Check:
    name, connected, most = "redis clients", int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    if not most:
        return ok(name, f"{connected} connected")
    found = f"{connected} of {most} connected; this machine's processes take up to {wanted}"
    if connected + wanted > most:
        return warning(name, found, f"{_CLI} CONFIG SET maxclients 10000")
    return ok(name, found)


def _clock(answers: Answers) -> list[Check]:
    if answers.skew is None:
        return []
    direction = "ahead of" if answers.skew > 0 else "behind"
    if abs(answers.skew) <= MOST_SKEW:
        return [ok("redis clock", f"within {MOST_SKEW:g} s of this machine's")]
    found = f"this machine's clock is {abs(answers.skew):.0f} s {direction} Redis's"
    return [warning("redis clock", found, "timedatectl set-ntp true, on both machines")]
