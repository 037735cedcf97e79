"""Memory as a container sees it, from the files of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue.doctor.memory import check

V2 = {"memory.max": "1073741824\n", "memory.current": "900000000\n", "memory.stat": "anon 1\ninactive_file 400000000\n"}
V1 = {
    "memory.limit_in_bytes": "1073741824\n",
    "memory.usage_in_bytes": "900000000\n",
    "memory.stat": "total_inactive_file 400000000\n",
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n")
    return tmp_path


def limit(machine: Path, membership: str, folder: str, files: dict[str, str]) -> Path:
    (machine / "proc/self/cgroup").write_text(membership)
    directory = machine / "sys/fs/cgroup" / folder
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return machine


def test_without_a_limit_it_is_the_machines(machine: Path) -> None:
    assert check(machine).found == "8.2 GB available"
    unlimited = {"memory.max": "max\n", "memory.current": "900000000\n"}
    assert check(limit(machine, "0::/app\n", "app", unlimited)).found == "8.2 GB available"


@pytest.mark.parametrize(
    ("membership", "folder", "files"), [("0::/app\n", "app", V2), ("5:memory:/app\n", "memory/app", V1)]
)
def test_the_limit_of_a_cgroup_counts_less_what_is_used_of_it(
    machine: Path, membership: str, folder: str, files: dict[str, str]
) -> None:
    found = check(limit(machine, membership, folder, files))
    assert found.found.startswith("0.6 GB available below the cgroup's limit (the machine has 8.2)")
    assert found.status == "warning"
    assert "MODEL=efficientnet-lite0" in found.fix


def test_a_limit_that_cannot_be_read_is_none(machine: Path) -> None:
    assert check(limit(machine, "0::/app\n", "app", {"memory.max": "much\n"})).status == "ok"


def test_on_another_system_it_is_not_known(tmp_path: Path) -> None:
    assert check(tmp_path).status == "ok"
