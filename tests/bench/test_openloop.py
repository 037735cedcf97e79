"""Requests at a fixed rate: each is counted once, whatever becomes of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from bench.openloop import Reply, in_windows, send
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import System


def reply(ended: float, status: int = 200) -> Reply:
    return Reply(number=0, sent=0.0, ended=ended, status=status, code="", label="", retry_after="")


def test_answers_are_counted_in_the_window_in_which_they_came() -> None:
    replies = [reply(0.1), reply(0.9), reply(1.5), reply(1.6, status=503), reply(3.1)]
    assert in_windows(replies, 3.0, window=1.0) == [2, 1, 0]
    assert in_windows(replies, 3.0, window=0.5) == [2, 2, 0, 2, 0, 0]


def test_every_request_is_sent_and_its_answer_kept(
    redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    system = make_system(redis_server).start()
    replies = send(urlsplit(system.url).port or 0, picture, rate=50, seconds=1, first=7)
    assert [one.number for one in replies] == list(range(7, 57))
    assert {(one.status, one.label) for one in replies} == {(200, null_label(picture(n))) for n in range(7, 57)}


def test_a_server_that_is_not_there_leaves_requests_unanswered() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        (one,) = send(taken.getsockname()[1], picture, rate=1, seconds=1)
    assert (one.status, one.code) == (0, "unanswered: ConnectionRefusedError")
