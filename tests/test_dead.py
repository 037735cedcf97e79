"""The images that were given up: listed, exported, sent again, cleared."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from PIL import Image

from imagequeue import dead
from imagequeue.errors import JobFailed
from imagequeue.job import Job, Result
from imagequeue.jobqueue import JobQueue
from settings import Settings
from tests.support.jobs import claim, ids_in, join
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT

PIXELS = bytes(range(48))


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    queue = JobQueue(client)
    join(queue, "w1")
    return queue


def give_up(queue: JobQueue, *, pixels: bytes = PIXELS, reason: str = "it raised") -> Job:
    job = Job(pixels=pixels, reply_to="web-1", top=3)
    queue.enqueue(job, timeout=30, max_length=100, needs_worker=False)
    claim(queue)
    queue.fail("w1", job.id, job.reply_to, Result(id=job.id, error=JobFailed("No.")), reason)
    return job


def run(server: RedisServer, *arguments: str) -> int:
    return dead.main(["--redis-url", server.url, *arguments])


def test_list_tells_when_which_and_why(
    each_redis: RedisServer, queue: JobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = give_up(queue), give_up(queue, reason="it was killed by it")
    assert run(each_redis, "list") == 0
    printed = capsys.readouterr()
    lines = [line.split(" ", 2) for line in printed.out.splitlines()]
    assert [line[1:] for line in lines] == [[second.id, "it was killed by it"], [first.id, "it raised"]]
    assert all(line[0].endswith("Z") and "T" in line[0] for line in lines)
    assert printed.err == "2 images were given up.\n"


def test_export_writes_each_document_and_its_picture(each_redis: RedisServer, queue: JobQueue, tmp_path: Path) -> None:
    job = give_up(queue)
    assert run(each_redis, "export", str(tmp_path / "dead")) == 0
    document = json.loads((tmp_path / "dead" / f"{job.id}.json").read_text())
    assert base64.b64decode(document["image"]) == PIXELS
    with Image.open(tmp_path / "dead" / f"{job.id}.png") as picture:
        assert (picture.size, picture.tobytes()) == ((4, 4), PIXELS)


@pytest.mark.parametrize("pixels", [b"", b"12", bytes(15), bytes(3 * 7)])
def test_pixels_that_are_no_square_are_exported_as_a_document_only(
    each_redis: RedisServer, queue: JobQueue, tmp_path: Path, pixels: bytes
) -> None:
    job, good = give_up(queue, pixels=pixels), give_up(queue)
    assert run(each_redis, "export", str(tmp_path)) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [f"{job.id}.json", f"{good.id}.json", f"{good.id}.png"]
    )


def test_requeue_enqueues_under_a_new_id_for_whoever_looks(
    each_redis: RedisServer, queue: JobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    job, other = give_up(queue), give_up(queue)
    assert run(each_redis, "requeue", job.id) == 0
    (again,) = ids_in(queue)
    assert again not in (job.id, other.id)
    assert capsys.readouterr().out == f"{job.id} → {again}\n"
    (document,) = queue.client.lrange(queue.name, 0, -1)
    found = Job.decode(document)
    assert (found.pixels, found.top, found.reply_to) == (PIXELS, 3, "")
    assert claim(queue) == [again]


def test_requeue_all_and_nothing_twice(each_redis: RedisServer, queue: JobQueue) -> None:
    for _ in range(3):
        give_up(queue)
    assert run(each_redis, "requeue", "--all") == 0
    assert (queue.depth(), queue.dead()) == (3, [])
    assert run(each_redis, "requeue", "--all") == 0
    assert queue.depth() == 3


def test_what_another_has_taken_meanwhile_is_told_and_not_sent(
    each_redis: RedisServer, queue: JobQueue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, left = give_up(queue), give_up(queue)
    seen = queue.dead()
    run(each_redis, "requeue", taken.id)
    monkeypatch.setattr(JobQueue, "dead", lambda self: seen)
    assert run(each_redis, "requeue", "--all") == 1
    assert f"{taken.id} is not among them any more.\n" in capsys.readouterr().err
    assert (queue.depth(), left.id in str(queue.client.lrange(queue.key("dead"), 0, -1))) == (2, False)


def test_an_id_that_is_not_there_is_named_and_the_others_are_sent(
    each_redis: RedisServer, queue: JobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    job = give_up(queue)
    assert run(each_redis, "requeue", "f" * 32, job.id) == 1
    assert f"{'f' * 32} is not among them." in capsys.readouterr().err
    assert queue.depth() == 1


def test_requeue_without_an_id_is_a_mistake(each_redis: RedisServer, queue: JobQueue) -> None:
    give_up(queue)
    with pytest.raises(SystemExit) as ended:
        run(each_redis, "requeue")
    assert ended.value.code == 2
    assert queue.depth() == 0


def test_what_is_no_document_does_not_keep_the_others_from_being_sent(
    each_redis: RedisServer, queue: JobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = json.dumps({"at": 1, "reason": "broken", "document": '{"id":"' + "a" * 32 + '"'})
    job = give_up(queue)
    queue.client.lpush(queue.key("dead"), broken)
    assert run(each_redis, "requeue", "--all") == 1
    assert queue.depth() == 1
    printed = capsys.readouterr()
    assert job.id in printed.out
    assert f"{'a' * 32} is no job document" in printed.err


def test_a_document_that_names_a_path_is_not_written_outside(
    each_redis: RedisServer, queue: JobQueue, tmp_path: Path
) -> None:
    document = '{"id":"../' + "a" * 29 + '"}'
    queue.client.lpush(queue.key("dead"), json.dumps({"at": 1, "reason": "odd", "document": document}))
    assert run(each_redis, "export", str(tmp_path / "in")) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["in"]
    assert len(list((tmp_path / "in").iterdir())) == 1


HOSTILE = "\x1b[2J\x1b]0;x\x07\r\n\x9b31m\x7f\u202egpj"


def test_what_others_have_written_reaches_the_terminal_as_words(
    each_redis: RedisServer, queue: JobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.dumps({"id": HOSTILE, "reply_to": "web-1", "top": 5})
    queue.client.lpush(queue.key("dead"), json.dumps({"at": 1, "reason": HOSTILE, "document": document}))
    assert run(each_redis, "list") == 0
    assert run(each_redis, "requeue", "--all") == 1
    assert run(each_redis, "requeue", HOSTILE) == 1
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines), lines
    assert r"\x1b[2J" in printed.out


@pytest.mark.parametrize(
    "entry",
    [
        "no JSON",
        "[]",
        "7",
        "[" * 100_000,
        "{}",
        '{"at": "x", "reason": "r", "document": "{}"}',
        '{"at": 1e300, "reason": "r", "document": "{}"}',
        '{"at": -1, "reason": "r", "document": "{}"}',
        '{"at": NaN, "reason": "r", "document": "{}"}',
        '{"at": 1, "reason": "r", "document": "\\ud800"}',
    ],
)
def test_an_entry_that_cannot_be_read_is_listed_beside_the_others(
    each_redis: RedisServer, queue: JobQueue, entry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = give_up(queue)
    queue.client.lpush(queue.key("dead"), entry)
    assert run(each_redis, "list") == 0
    printed = capsys.readouterr()
    assert job.id in printed.out
    assert len(printed.out.splitlines()) == 2
    assert run(each_redis, "requeue", job.id) == 0


def test_clear_forgets_them(each_redis: RedisServer, queue: JobQueue) -> None:
    give_up(queue)
    assert run(each_redis, "clear") == 0
    assert queue.dead() == []


def test_the_environment_says_where(each_redis: RedisServer, queue: JobQueue) -> None:
    job = give_up(queue)
    ended = subprocess.run(
        [sys.executable, "-m", "imagequeue.dead", "list"],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": each_redis.url, "IMAGE_QUEUE": "image_queue"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert job.id in ended.stdout


def test_the_file_beside_the_scripts_says_where_too(
    each_redis: RedisServer,
    client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = JobQueue(client, "other_queue")
    join(other, "w1")
    job = give_up(other)
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"REDIS_URL={each_redis.url}\nIMAGE_QUEUE=other_queue\n")
    monkeypatch.setattr("settings.load_or_exit", lambda: Settings.load({}, dotenv))
    assert dead.main(["list"]) == 0
    assert job.id in capsys.readouterr().out


def test_a_redis_that_is_away_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert dead.main(["--redis-url", f"redis://127.0.0.1:{free_port()}/0", "list"]) == 1
    assert capsys.readouterr().err == "Redis does not answer.\n"
