"""The settings as far as they can be read: one that is wrong is reported and counts as not set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagequeue.doctor.check import Check, failed, ok
from imagequeue.errors import ConfigurationError

if TYPE_CHECKING:
    from settings import Settings

NOWHERE = Path("/dev/null/.env")


@dataclass(frozen=True)
class Given:
    """names: the variables that the user has set, and that are right. refused: those that are wrong."""

    settings: Settings
    names: frozenset[str]
    refused: frozenset[str]
    check: Check


def read(environment: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Given:
    """environment, dotenv: the process's own, and the file beside the scripts, unless given."""
    from settings import DOTENV, Settings, given_by_user

    file = DOTENV if dotenv is None else dotenv
    wrong: list[str] = []
    try:
        given = given_by_user(environment, file)
    except ModuleNotFoundError as error:
        wrong.append(f"{file} is not read: the module {error.name} is not installed.")
    except (OSError, ValueError) as error:
        wrong.append(f"{file} cannot be read: {error}.")
    if wrong:
        given = given_by_user(environment, NOWHERE)
    refused = set()
    while True:
        try:
            settings = Settings.load(given, NOWHERE)
            break
        except ConfigurationError as error:
            name = error.message.partition(":")[0]
            if name not in given:
                raise
            del given[name]
            # Without a cause it is not the value by itself that is wrong: the keys that it names were just dropped.
            if error.__cause__ is not None or "API_KEYS" not in refused:
                wrong.append(error.message)
            refused.add(name)
    names = frozenset(given) & {name.upper() for name in vars(settings)}
    if wrong:
        check = failed("settings", " ".join(wrong), "docs/settings.md lists what each takes")
    else:
        check = ok("settings", f"{len(names)} set" + (f", by the environment and {file.name}" if file.exists() else ""))
    return Given(settings, names, frozenset(refused), check)
