"""Numbers that the processes of a server see of each other."""

from __future__ import annotations

import os

from imagequeue.web.sharedcounts import PLACES, SharedCounts


def test_what_a_child_sets_its_parent_sees_and_the_other_way_round() -> None:
    counts = SharedCounts()
    counts.set(1, 30)
    pid = os.fork()
    if not pid:
        counts.set(2, 12)
        os._exit(0 if counts.total() == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert counts.total() == 42
    counts.set(2, 0)
    assert counts.total() == 30


def test_places_never_run_out() -> None:
    counts = SharedCounts()
    counts.set(7 * PLACES + 3, 5)
    counts.set(3, 4)
    assert counts.total() == 4


def test_the_least_is_of_those_that_are_there_and_not_the_asker() -> None:
    counts = SharedCounts()
    counts.set(1, 2)
    assert counts.least_elsewhere(1) == 0
    counts.set(2, 9)
    counts.set(3, 5)
    assert counts.least_elsewhere(1) == 5
    assert counts.least_elsewhere(3) == 2
