"""Redis killed, restarted, emptied, loading, without its scripts, made a replica: every process resumes by itself."""

from __future__ import annotations

import os
import signal
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from imagequeue.client import Answer
from imagequeue.errors import ImageQueueError
from tests.faults.conftest import Case, MakeCase
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import eventually

IMAGES = [picture(number) for number in range(30)]
# While Redis is away, and once it is back until a worker whose lease has ended meanwhile has reported again.
AWAY = ("redis_down", "no_workers")


def assert_all_serve_again(case: Case) -> None:
    """No process was restarted, and each serves."""
    for url in case.system.urls:
        eventually(lambda url=url: case.system.is_ready(url), what=f"{url}/readyz")
    assert all(script.is_running for script in (*case.system.webs, *case.system.workers))
    served = [len(worker.lines("claimed")) for worker in case.system.workers]
    numbers = iter(range(2000, 3000))

    def each_worker_has_claimed_since() -> bool:
        # Whoever is first takes an image, so the next may be another's.
        batch = [picture(next(numbers)) for _ in range(8)]
        # A lease that Redis remembers may end just before its worker is back.
        if refused := codes(case.history.send(batch)):
            assert refused == {"no_workers"}
            return False
        now = [len(worker.lines("claimed")) for worker in case.system.workers]
        return all(after > before for before, after in zip(served, now, strict=True))

    eventually(each_worker_has_claimed_since)


def codes(outcomes: list[Answer | ImageQueueError | None]) -> set[str]:
    return {outcome.code for outcome in outcomes if isinstance(outcome, ImageQueueError)}


def test_redis_killed_and_restarted_with_its_data_loses_no_accepted_job(make_case: MakeCase) -> None:
    case = make_case(redis={"appendonly": "yes", "appendfsync": "always"}, TEST_FAULTS="slow=0.05")
    case.start(webs=2, workers=2)
    sending = case.history.start(IMAGES, connections=30)
    eventually(lambda: sending.answered >= 4)
    case.server.kill()
    case.server.start()
    # All had been accepted, so none is refused, and each is answered.
    refused = codes(sending.join())
    assert refused <= set(AWAY)
    assert sum(isinstance(outcome, Answer) for outcome in sending.outcomes) >= 4
    assert_all_serve_again(case)
    case.history.check(refusals=AWAY)


def test_redis_restarted_without_its_data_tells_waiting_clients_that_their_images_are_lost(
    make_case: MakeCase,
) -> None:
    case = make_case(TEST_FAULTS="slow=0.05").start(webs=2, workers=2)
    sending = case.history.start(IMAGES, connections=30)
    eventually(lambda: sending.answered >= 4)
    case.server.kill()
    case.server.start()
    refused = codes(sending.join())
    assert "job_lost" in refused, "told at once, not at the deadline"
    assert refused <= {"job_lost", *AWAY}
    assert_all_serve_again(case)
    case.history.check(refusals=["job_lost", *AWAY], redis_forgot=True)


def test_while_redis_loads_its_data_everybody_waits_and_then_goes_on(make_case: MakeCase) -> None:
    case = make_case(redis={"appendonly": "yes"}).start()
    case.history.send(IMAGES[:4])
    with case.server.client() as client:
        # Redis answers once in two megabytes while it loads.
        for number in range(200):
            client.set(f"filler:{number}", os.urandom(64 * 1024), ex=600)
        client.bgrewriteaof()
        eventually(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
    case.server.stop()
    # Microseconds for each key, so that there is time to ask while it loads.
    case.server.options["key-load-delay"] = "10000"
    case.server.start(wait=False)
    eventually(lambda: is_loading(case.server))
    eventually(lambda: "Redis is loading its data" in case.system.workers[0].output, what="the worker was told so")
    # Refused, or served as soon as all is loaded.
    assert codes(case.history.send(IMAGES[4:5])) <= set(AWAY)
    assert_all_serve_again(case)
    case.history.check(refusals=AWAY)


def is_loading(server: RedisServer) -> bool:
    try:
        redis.Redis(port=server.port, protocol=2, retry=Retry(NoBackoff(), 0)).ping()
    except redis.BusyLoadingError:
        return True
    except redis.RedisError:
        return False
    raise AssertionError("it has loaded before anybody asked")


def test_scripts_that_redis_forgets_again_and_again_are_no_event(make_case: MakeCase) -> None:
    case = make_case().start(webs=1, workers=2)
    stopping = threading.Event()

    def flush_for_ever() -> None:
        with case.server.client() as client:
            while not stopping.is_set():
                client.script_flush()

    flusher = threading.Thread(target=flush_for_ever)
    flusher.start()
    try:
        outcomes = case.history.send(IMAGES, connections=8)
    finally:
        stopping.set()
        flusher.join()
    assert codes(outcomes) <= set(AWAY)
    assert_all_serve_again(case)
    case.history.check(refusals=AWAY)


def test_after_a_failover_everybody_follows_the_address_to_the_new_master(make_case: MakeCase) -> None:
    case = make_case(redis={"repl-diskless-sync-delay": "0"}, through_proxy=True, TEST_FAULTS="slow=0.02")
    case.start(webs=2, workers=2)
    replica = RedisServer(case.server.binary).start()
    try:
        with case.server.client() as master, replica.client() as heir:
            heir.execute_command("REPLICAOF", "127.0.0.1", str(case.server.port))
            eventually(lambda: heir.info("replication")["master_link_status"] == "up")
            sending = case.history.start(IMAGES, connections=8)
            eventually(lambda: sending.answered >= 4)
            # What a failover does: nothing is written any more, the heir has all, the roles change, the address moves.
            master.execute_command("CLIENT", "PAUSE", 10_000, "WRITE")
            eventually(lambda: has_all(master, heir))
            heir.execute_command("REPLICAOF", "NO", "ONE")
            case.proxy.lead_to(replica)
            master.execute_command("REPLICAOF", "127.0.0.1", str(replica.port))
            master.execute_command("CLIENT", "UNPAUSE")
        assert codes(sending.join()) <= set(AWAY)
        case.history.watch(replica)
        assert_all_serve_again(case)
        case.history.check(refusals=AWAY)
        assert all("Traceback" not in script.output for script in (*case.system.webs, *case.system.workers))
    finally:
        case.system.kill()
        replica.remove()


def has_all(master: object, heir: object) -> bool:
    ours, theirs = master.info("replication"), heir.info("replication")  # type: ignore[attr-defined]
    return bool(ours["master_repl_offset"] == theirs["slave_repl_offset"])


def test_a_redis_that_hangs_is_noticed_and_answers_follow_when_it_goes_on(make_case: MakeCase) -> None:
    case = make_case(TEST_FAULTS="slow=0.05").start()
    sending = case.history.start(IMAGES, connections=8)
    eventually(lambda: sending.answered >= 4)
    assert case.server.process is not None
    case.server.process.send_signal(signal.SIGSTOP)
    eventually(lambda: not case.system.is_ready(), what="it is noticed")
    assert case.system.is_live(case.system.url)
    case.server.process.send_signal(signal.SIGCONT)
    assert codes(sending.join()) <= set(AWAY)
    assert_all_serve_again(case)
    case.history.check(refusals=AWAY)
