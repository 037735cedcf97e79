"""Which releases of Redis and Valkey have known holes."""

from __future__ import annotations

import pytest

from imagequeue.doctor.advisories import ADVISORIES, check

LUA = "CVE-2025-49844"


@pytest.mark.parametrize(
    ("product", "version", "is_open"),
    [
        ("Redis", (6, 2, 14), True),
        ("Redis", (6, 2, 20), False),
        ("Redis", (7, 0, 15), True),
        ("Redis", (7, 2, 10), True),
        ("Redis", (7, 2, 11), False),
        ("Redis", (7, 4, 6), False),
        ("Redis", (8, 0, 3), True),
        ("Redis", (8, 2, 1), True),
        ("Redis", (8, 4, 0), False),
        ("Valkey", (7, 2, 4), True),
        ("Valkey", (8, 0, 6), False),
        ("Valkey", (8, 1, 3), True),
        ("Valkey", (9, 0, 0), False),
    ],
)
def test_a_hole_is_open_up_to_the_release_that_fixed_it_in_its_branch(
    product: str, version: tuple[int, ...], is_open: bool
) -> None:
    assert (LUA in check(product, version).found) is is_open


def test_a_release_with_all_fixes_has_none() -> None:
    assert check("Valkey", (9, 1, 2)).status == "ok"
    assert check("Redis", (8, 10, 1)).status == "ok"


@pytest.mark.parametrize(
    ("product", "version", "better"),
    [
        ("Redis", (7, 2, 4), "Redis 7.2.16"),
        ("Redis", (7, 0, 15), "Redis 8.10.1"),
        ("Valkey", (8, 0, 0), "Valkey 8.0.10"),
        ("Valkey", (9, 1, 0), "Valkey 9.1.1"),
    ],
)
def test_the_release_to_upgrade_to_is_of_the_same_branch_where_that_is_maintained(
    product: str, version: tuple[int, ...], better: str
) -> None:
    found = check(product, version)
    assert found.status == "warning"
    assert found.fix == f"upgrade to {better} or newer"
    assert check(product, tuple(map(int, better.split()[1].split(".")))).status == "ok"


def test_a_hole_of_newer_releases_is_not_in_older_ones() -> None:
    assert "CVE-2026-23479" not in check("Redis", (6, 2, 14)).found
    assert "CVE-2026-23479" in check("Redis", (7, 2, 11)).found


def test_every_row_of_the_table_names_a_fixed_release() -> None:
    assert all(advisory.redis or advisory.valkey for advisory in ADVISORIES)
