"""`python -m imagequeue COMMAND`: the commands that look at an installation.

    python -m imagequeue doctor   what the service needs, what of it is missing here, and the line that fixes it

Each has a --help of its own. What serves and what sends are scripts: run_web_server.py, run_model_server.py,
simple_request.py, stress_test.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from imagequeue.doctor import python, report


def doctor(arguments: Sequence[str]) -> int:
    check = python.check(python.this_interpreter())
    if sys.version_info[:2] < python.OLDEST:
        # The other checks cannot be imported there.
        print(report.as_json([check]) if "--json" in arguments else report.as_text([check]))
        return 1
    from imagequeue.doctor import command

    return command.main(arguments)


COMMANDS = {"doctor": doctor}


def main(arguments: Sequence[str]) -> int:
    """The exit code of the command, which gets all arguments behind its name; exits with 2 for an unknown command."""
    parser = argparse.ArgumentParser(
        prog="python -m imagequeue", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    chosen = parser.parse_args(arguments[:1])
    return COMMANDS[chosen.command](arguments[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
