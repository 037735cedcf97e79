"""One attack as `make attack` carries it out: a service of its own, watchers, a row, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import KINDS, redis_binary
from tests.support.system import ROOT

ATTACK = (sys.executable, "-m", "bench.attack")

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads Linux's /proc")


def test_an_attack_has_a_row_and_its_service_is_ended_with_it(tmp_path: Path) -> None:
    redis_binary(KINDS[0] if KINDS else None)
    file = tmp_path / "figures" / "attack.json"
    done = subprocess.run(
        [*ATTACK, "forwarded", "--seconds", "1", "--json", str(file)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "| forwarded |" in done.stdout, done.stderr
    (row,) = json.loads(file.read_text())
    # Not how long anything took: other tests run at the same time.
    assert row["honest"].keys() == {"200"}
    assert {"200", "431"} <= row["attackers"].keys()
    assert not row["faults"]
    assert len(row["web_mb"]) == len(row["decoders_mb"]) == 2
    assert min(*row["web_mb"], *row["decoders_mb"]) > 10
    assert done.returncode == (1 if row["reasons"] else 0)
    assert [left.name for left in tmp_path.iterdir()] == ["figures"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "nonsense"),
        (["--seconds", "0"], "--seconds"),
        (["--seconds", "21"], "at most 20"),
        (["--through", "squid"], "squid"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(arguments: list[str], named: str) -> None:
    done = subprocess.run([*ATTACK, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert named in done.stderr


def test_the_list_has_a_line_for_each_attack() -> None:
    done = subprocess.run([*ATTACK, "--list"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert {"scans", "echo", "credit", "jobs"} <= {line.split()[0] for line in done.stdout.splitlines()}
