"""openapi.json is true: Schemathesis sends what it allows and what it does not, checks all it can, finds nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.redisserver import RedisServer
from tests.support.system import ROOT, System

pytestmark = pytest.mark.slow

# The same requests each time, so that what fails is what has just been changed.
SEED, EXAMPLES = 1, 4
CONFIGURATION = """
[parameters]
"path.name" = "null"
"path.version" = "1"

# 413, which is not among those expected, is what too many images are answered with.
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429"]

# DELETE cancels a job, and what became of it is still told afterwards.
[[operations]]
include-operation-id = ["jobs_show_by_job_id", "jobs_cancel_by_job_id"]
checks.use_after_free.enabled = false
"""


def test_schemathesis_finds_nothing(
    redis_server: RedisServer, make_system: Callable[..., System], tmp_path: Path
) -> None:
    system = make_system(redis_server).start()
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(configuration), "run"]
    command += [f"{system.url}/openapi.json", "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", str(SEED)]
    command += ["--generation-database", "none", "--continue-on-failure", "--no-color"]
    run = subprocess.run(
        command,
        # Where it leaves its cache.
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.apihooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-20_000:]
    generated, passed = map(int, re.findall(r"(\d+) generated, (\d+) passed", said)[0])
    assert generated == passed > 200, said
    selected, total = map(int, re.findall(r"Operations: +(\d+) selected / (\d+) total", said)[0])
    assert selected == total > 20, said
