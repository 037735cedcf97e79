"""How many processors a container really has, read from cgroup trees as kernels and runtimes lay them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagequeue import cpus


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def tree(root: Path, membership: str, **files: str) -> Path:
    """A root with /proc/self/cgroup and the named files below /sys/fs/cgroup; `__` stands for a slash."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        path = name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cpu_cfs", "cpu.cfs")
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_without_cgroups_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert cpus.available(tmp_path) == 8


def test_v2_a_quota_counts(tmp_path: Path) -> None:
    assert cpus.available(tree(tmp_path, "0::/app\n", app__cpu_max="200000 100000\n")) == 2


def test_v2_max_is_no_quota(tmp_path: Path) -> None:
    assert cpus.available(tree(tmp_path, "0::/app\n", app__cpu_max="max 100000\n")) == 8


def test_v2_a_part_of_a_processor_is_worth_a_thread(tmp_path: Path) -> None:
    assert cpus.available(tree(tmp_path, "0::/\n", cpu_max="150000 100000\n")) == 2


def test_v2_less_than_one_processor_is_one(tmp_path: Path) -> None:
    assert cpus.available(tree(tmp_path, "0::/\n", cpu_max="10000 100000\n")) == 1


def test_v2_the_tightest_quota_above_counts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "0::/slice/app/leaf\n",
        slice__app__leaf__cpu_max="max 100000",
        slice__app__cpu_max="600000 100000",
        slice__cpu_max="300000 100000",
        cpu_max="max 100000",
    )
    assert cpus.available(root) == 3


def test_v2_in_a_container_the_hosts_path_does_not_exist_and_the_mounts_top_counts(tmp_path: Path) -> None:
    assert cpus.available(tree(tmp_path, "0::/docker/0123abcd\n", cpu_max="400000 100000\n")) == 4


def test_v2_a_path_above_the_namespace_leads_to_the_mounts_top(tmp_path: Path) -> None:
    assert cpus.available(tree(tmp_path, "0::/../other\n", cpu_max="400000 100000\n")) == 4


def test_a_quota_larger_than_the_affinity_mask_does_not_count(tmp_path: Path) -> None:
    assert cpus.available(tree(tmp_path, "0::/\n", cpu_max="1600000 100000\n")) == 8


def test_v1_a_quota_counts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "12:memory:/app\n4:cpu,cpuacct:/app\n1:name=systemd:/app\n",
        cpu__app__cpu_cfs_quota_us="250000\n",
        cpu__app__cpu_cfs_period_us="100000\n",
    )
    assert cpus.available(root) == 3


def test_v1_minus_one_is_no_quota(tmp_path: Path) -> None:
    root = tree(tmp_path, "4:cpu:/\n", cpu__cpu_cfs_quota_us="-1\n", cpu__cpu_cfs_period_us="100000\n")
    assert cpus.available(root) == 8


def test_v1_and_v2_side_by_side_the_tighter_counts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "4:cpu,cpuacct:/\n0::/\n",
        cpu_max="500000 100000\n",
        cpu__cpu_cfs_quota_us="200000\n",
        cpu__cpu_cfs_period_us="100000\n",
    )
    assert cpus.available(root) == 2


@pytest.mark.parametrize("text", ["", "max", "nonsense 100000", "100000 0"])
def test_a_quota_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    assert cpus.available(tree(tmp_path, "0::/\n", cpu_max=text)) == 8
