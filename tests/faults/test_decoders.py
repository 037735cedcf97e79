"""Decoders that are killed, and web processes that are: no answer is missing, and no process is left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

from imagequeue.client import Answer
from tests.support.decoding import children
from tests.support.load import null_label, send_all
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import Script, System, eventually, is_alive

MakeSystem = Callable[..., System]


def below(web: Script) -> list[int]:
    """The spawners of a web server's processes, and their decoders."""
    found: list[int] = []
    with suppress(OSError):
        for child in web.children():
            for spawner in children(child):
                found += [spawner, *children(spawner)]
    return [pid for pid in found if is_alive(pid)]


def test_decoders_that_are_killed_all_along_cost_no_answer(redis_server: RedisServer, make_system: MakeSystem) -> None:
    system = make_system(redis_server).start()
    (web,) = system.webs
    pictures = [picture(number, size=(640, 480), format="JPEG") for number in range(150)]
    is_over, killed = threading.Event(), 0

    def kill() -> None:
        nonlocal killed
        while not is_over.wait(0.05):
            # Each third time all start again, their spawner too. What has ended meanwhile is not there to be listed.
            with suppress(OSError):
                for child in web.children():
                    for spawner in children(child):
                        for pid in [*children(spawner), spawner] if killed % 3 == 2 else children(spawner)[:1]:
                            os.kill(pid, signal.SIGKILL)
                            killed += 1

    killing = threading.Thread(target=kill)
    killing.start()
    answers = send_all(system.urls, pictures, connections=8)
    is_over.set()
    killing.join()
    assert killed > 5
    # A file that two decoders died of is refused; killing that often may come to that, and is seldom.
    refused = [answer for answer in answers if not isinstance(answer, Answer)]
    assert {getattr(error, "code", None) for error in refused} <= {"bad_image"}, refused
    assert len(refused) < len(pictures) / 10, refused
    for file, answer in zip(pictures, answers, strict=True):
        assert not isinstance(answer, Answer) or answer.predictions[0].label == null_label(file)
    assert system.predict(picture(0)).status_code == 200


def test_no_decoder_outlives_its_web_process_however_that_ends(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server).start()
    (web,) = system.webs
    assert system.predict(picture(1)).status_code == 200
    before = below(web)
    assert len(before) >= 2
    (child,) = web.children()
    os.kill(child, signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, before)), what=f"{before} end with {child}")
    eventually(system.is_ready)
    assert system.predict(picture(2)).status_code == 200
    after = below(web)
    assert len(after) >= 2
    web.stop()
    eventually(lambda: not any(map(is_alive, after)), what=f"{after} end with their server")


def test_a_frozen_decoder_costs_its_request_and_nobody_elses(
    redis_server: RedisServer, make_system: MakeSystem
) -> None:
    system = make_system(redis_server, REQUEST_TIMEOUT=3).start()
    (web,) = system.webs
    (child,) = web.children()
    eventually(lambda: children(child), what="its spawner has started")
    (spawner,) = children(child)
    eventually(lambda: len(children(spawner)) >= 2, what="all decoders have started")
    frozen = children(spawner)[-1]
    os.kill(frozen, signal.SIGSTOP)
    answers = send_all(system.urls, [picture(number) for number in range(40)], connections=4)
    failed = [answer for answer in answers if not isinstance(answer, Answer)]
    assert len(failed) <= 1
    assert all(getattr(error, "code", None) == "deadline_exceeded" for error in failed)
    if failed:
        eventually(lambda: not is_alive(frozen), what=f"{frozen} ends")
