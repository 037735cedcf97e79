"""`python -m imagequeue doctor`: settings → checks, side by side → one screen, or JSON.

    python -m imagequeue doctor          a line for each check, and under it the line that fixes it
    python -m imagequeue doctor --json   the same for a program

Exit code: 0 if nothing prevents the service from running, warnings or not; 1 otherwise; 2 for a wrong argument.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagequeue import cpus, download, kerashome
from imagequeue.doctor import (
    disk,
    localredis,
    machine,
    memory,
    model,
    packages,
    ports,
    python,
    redisserver,
    report,
    requirement,
)
from imagequeue.doctor.check import Check, failed
from imagequeue.doctor.examination import Probe, examine
from imagequeue.doctor.given import Given, read

if TYPE_CHECKING:
    from settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m imagequeue doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    chosen = parser.parse_args(arguments)
    checks = examine(probes(read()), install=install_line("requirements.txt"))
    text = report.as_json(checks) if chosen.json else report.as_text(checks)
    # A terminal may be of another encoding than the names of files that are shown.
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
    return 0 if report.is_ok(checks) else 1


def install_line(file: str) -> str:
    """What installs the packages of a requirements file, for the Python that runs this."""
    if (mine := ROOT / ".venv/bin/python").exists() and sys.prefix == sys.base_prefix:
        return f"{mine.relative_to(ROOT)} -m imagequeue doctor: the packages belong to that Python"
    pip = f"{shlex.quote(sys.executable)} -m pip install -r {file}"
    return f"make serve installs them; or {pip}" if sys.prefix == sys.base_prefix else pip


def probes(given: Given) -> dict[str, Probe]:
    """All checks in the order in which they are shown."""

    def one(check: Callable[[], Check]) -> Probe:
        return lambda: [check()]

    settings, here, install = given.settings, requirement.this_machine(), install_line("requirements.txt")
    return {
        "python": one(lambda: python.check(python.this_interpreter())),
        "packages": one(
            lambda: packages.check(requirement.read(ROOT / "requirements.txt"), machine=here, install=install)
        ),
        "extras": one(
            lambda: packages.check_extras(
                [
                    *requirement.read(ROOT / "requirements-serve.txt"),
                    *requirement.read(ROOT / "requirements-openvino.txt"),
                ],
                machine=here,
                install=install_line("requirements-serve.txt"),
            )
        ),
        "settings": lambda: [given.check],
        "redis": lambda: _redis(given),
        "model": one(lambda: _weights(given)),
        "labels": one(lambda: model.check_labels(settings.model, settings.model_labels, install=install)),
        "web port": one(lambda: ports.check_web(settings.web_host, settings.web_port)),
        "metrics port": one(lambda: _metrics(settings)),
        "open files": one(lambda: _open_files(settings)),
        "model cache": one(lambda: disk.check_model_cache(settings.model_cache)),
        "log folder": one(lambda: disk.check_logs(settings.log_dir)),
        "temporary folder": one(disk.check_temporary),
        "shared memory": one(disk.check_shared_memory),
        "memory": one(memory.check),
        "processors": one(
            lambda: machine.check_processors(
                cpus.available(), os.cpu_count() or 1, model_threads=settings.model_threads
            )
        ),
    }


def _redis(given: Given) -> Sequence[Check]:
    from scripts.local_redis import OLDEST, binaries, product_of

    settings = given.settings
    if "REDIS_URL" in given.refused:
        return [failed("redis", "REDIS_URL cannot be read", "REDIS_URL=redis://host:6379/0, or unset it")]
    if "REDIS_URL" not in given.names:
        return localredis.checks(binaries(), product_of=product_of, default_url=settings.redis_url)
    from imagequeue.connections import POOL_SIZE

    # See connections: a web process, with the limits of RATE_LIMIT and the log's stream; a worker with the stream.
    wanted = settings.web_processes * (POOL_SIZE + 5) + 4
    return redisserver.checks(settings.redis_url, queue=settings.image_queue, oldest=OLDEST, clients=wanted)


def _weights(given: Given) -> Check:
    def packaged() -> Path:
        from imagequeue.efficientnetlite import weights_file

        return weights_file()

    def is_packaged(name: str) -> bool:
        from imagequeue import kerasmodel

        return kerasmodel.is_packaged(name)

    return model.check_weights(
        given.settings.model,
        given.settings.model_weights,
        is_named=not given.names.isdisjoint({"MODEL", "MODEL_PREPROCESSING"}),
        downloads=kerashome.downloads(),
        why_not=download.why_not,
        packaged=packaged,
        is_packaged=is_packaged,
        install=install_line("requirements.txt"),
    )


def _metrics(settings: Settings) -> Check:
    if not settings.metrics_port:
        return ports.check_metrics(settings.metrics_host, 0, 0)
    from imagequeue.workermetrics import MOST_PORTS

    return ports.check_metrics(settings.metrics_host, settings.metrics_port, MOST_PORTS)


def _open_files(settings: Settings) -> Check:
    import resource

    from imagequeue.web.descriptors import RESERVED

    return machine.check_open_files(
        resource.getrlimit(resource.RLIMIT_NOFILE),
        unlimited=resource.RLIM_INFINITY,
        wanted=settings.web_threads + 2 * RESERVED,
    )
