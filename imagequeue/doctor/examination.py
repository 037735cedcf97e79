"""All checks side by side, each within a limit of time; one that breaks or hangs does not affect the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from imagequeue.doctor.check import Check, failed

# Of all checks together. The longest are a name server that is away, and a download host that drops packets (5 s).
SECONDS = 10.0
# Packages whose modules have another name.
_PACKAGES = {"PIL": "pillow", "dotenv": "python-dotenv", "yaml": "pyyaml"}

Probe = Callable[[], Sequence[Check]]


def examine(probes: Mapping[str, Probe], *, install: str, seconds: float = SECONDS) -> list[Check]:
    """What the probes return, in their order; takes `seconds` at most.

    A probe that raises or does not return in time becomes a failed check of its name. install: the line that installs
    missing packages.
    """
    results: dict[str, Sequence[Check]] = {}

    def run(name: str, probe: Probe) -> None:
        try:
            results[name] = probe()
        except ModuleNotFoundError as error:
            module = (error.name or str(error)).split(".")[0]
            package = _PACKAGES.get(module, module)
            results[name] = [failed(name, f"cannot be checked: the package {package} is not installed", install)]
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            results[name] = [failed(name, f"cannot be checked: {reason}", "report this as a bug of the check")]

    end = time.monotonic() + seconds
    # Daemons, because a call of the kernel that hangs (a name server, a network's file system) cannot be ended.
    threads = [threading.Thread(target=partial(run, *each), name=each[0], daemon=True) for each in probes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no result within {seconds:g} s"
    return [
        check
        for name in probes
        for check in results.get(name, [failed(name, late, "look for a host or a file system that does not answer")])
    ]
