"""What attackers can do to a running service, and what everybody else sees meanwhile: `make attack`.

Each attack has a private service (two web processes, a worker with the null model) and ends it. A prober asks /livez 20
times a second and honest clients send five images a second, before, during and after it. Exit 1 if anything is not as
wanted; the reasons are printed below the table. `--through nginx` or `--through caddy` puts that proxy in front,
configured as docs/security.md says. The attackers share the processors with the service that they attack.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import time
from pathlib import Path

from bench.attacks.catalogue import ATTACKS, chosen
from bench.attacks.report import cells, heads, line, reasons
from bench.attacks.row import Row, carry_out
from tests.support.frontproxy import KINDS, find
from tests.support.redisserver import binaries

SECONDS, MOST_SECONDS = 4.0, 20.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.attack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="ATTACK", help="attacks by name; all without one")
    parser.add_argument("--list", action="store_true", help="print the names, and what they do")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"of each attack, at most {MOST_SECONDS:.0f} ({SECONDS:.0f})"
    )
    parser.add_argument("--through", choices=KINDS, default="", help="a proxy in front, as docs/security.md has it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parsed = parser.parse_args()
    unknown = set(parsed.names) - {attack.name for attack in ATTACKS}
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}; --list prints all")
    if not 0.0 < parsed.seconds <= MOST_SECONDS:
        parser.error(f"--seconds: more than 0, at most {MOST_SECONDS:.0f}")
    return parsed


def main() -> int:
    given = arguments()
    if given.list:
        for attack in ATTACKS:
            print(f"{attack.name:<16}{attack.what}")
        return 0
    missing = [] if binaries() else ["redis-server"]
    if given.through and find(given.through) is None:
        missing.append(f"{given.through} or openssl")
    if not Path("/proc/self/status").exists():
        missing.append("Linux's /proc")
    if missing:
        print(f"Missing here: {', '.join(missing)}.", file=sys.stderr)
        return 2
    # A time limit from outside ends what was started, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # For thousands of attackers; the service that is started here sets its own.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = time.monotonic()
    rows: list[Row] = []
    print(heads(), flush=True)
    for attack in chosen(given.names, through=given.through):
        rows.append(carry_out(attack, seconds=given.seconds, through=given.through))
        print(line(cells(rows[-1])), flush=True)
    failed = [row for row in rows if row.broken]
    print()
    print(reasons(rows))
    through = f" through {given.through}" if given.through else ""
    print(f"{len(rows)} attacks{through} in {time.monotonic() - started:.0f} s, {len(failed)} not as wanted")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([row.figures() for row in rows], indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
