"""The checks run side by side: one that breaks, hangs or needs a missing package leaves the others alone."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence

from imagequeue.doctor.check import Check, failed, ok
from imagequeue.doctor.examination import examine

INSTALL = "make serve installs them"


def good() -> Sequence[Check]:
    return [ok("good", "all is there"), ok("good too", "that, too")]


def test_results_are_in_the_order_of_the_probes_whichever_is_first() -> None:
    turn = threading.Event()

    def late() -> Sequence[Check]:
        assert turn.wait(5)
        return [ok("late", "")]

    def early() -> Sequence[Check]:
        turn.set()
        return [ok("early", "")]

    found = examine({"late": late, "early": early, "good": good}, install=INSTALL)
    assert [check.name for check in found] == ["late", "early", "good", "good too"]


def test_a_check_that_raises_is_a_failed_one_with_the_errors_words_and_the_others_go_on() -> None:
    def broken() -> Sequence[Check]:
        raise ZeroDivisionError("of all things\nand more")

    found = examine({"broken": broken, "good": good}, install=INSTALL)
    assert found[0].status == "failed"
    assert "ZeroDivisionError: of all things" in found[0].found
    assert "and more" not in found[0].found
    assert found[1:] == good()


def test_a_check_that_hangs_is_a_failed_one_and_the_others_are_shown() -> None:
    forever = threading.Event()

    def hanging() -> Sequence[Check]:
        forever.wait(60)
        return []

    found = examine({"hanging": hanging, "good": good}, install=INSTALL, seconds=0.2)
    forever.set()
    assert found[0].name == "hanging"
    assert found[0].status == "failed"
    assert "no result within 0.2 s" in found[0].found
    assert found[1:] == good()


def test_a_check_that_needs_a_missing_package_names_the_package_and_the_line_that_installs_it() -> None:
    def needy() -> Sequence[Check]:
        importlib.import_module("a_module_that_nobody_has.part")
        return []

    found = examine({"needy": needy}, install=INSTALL)
    assert found == [
        failed("needy", "cannot be checked: the package a_module_that_nobody_has is not installed", INSTALL)
    ]
