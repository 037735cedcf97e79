"""The releases that Redis and Valkey say they are."""

from __future__ import annotations

from imagequeue.doctor.release import of_info, version_text


def test_valkey_is_not_taken_for_the_redis_that_it_is_compatible_with() -> None:
    assert of_info({"redis_version": "7.2.4", "valkey_version": "9.1.2"}) == ("Valkey", (9, 1, 2))
    assert of_info({"redis_version": "7.0.15"}) == ("Redis", (7, 0, 15))


def test_a_version_is_shown_with_points() -> None:
    assert version_text((7, 2, 4)) == "7.2.4"
