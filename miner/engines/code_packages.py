"""Decides whether an environment has what a job's code requires; nothing is ever installed."""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

import msgspec

from ledger.faults import Reason
from miner.engines.interface import EngineFailedError, InputInvalidError

MAX_DEPTH: Final = 4
"""Of extras that ask for extras."""


class PackageMissingError(EngineFailedError):
    """This miner's environment lacks a package; another miner's may have it."""

    reason = Reason.RESOURCES_MISSING


class Packages(msgspec.Struct, frozen=True):
    """The packages of an environment, by normalised name."""

    versions: Mapping[str, str]
    extras: Mapping[str, tuple[str, ...]]
    """Of each package: what it requires, with the markers that its extras set."""
    python_version: str

    @property
    def digest(self) -> str:
        """Return a hash of which packages there are, and in which versions."""
        lines = "".join(f"{name}=={self.versions[name]}\n" for name in sorted(self.versions))
        return hashlib.sha256(lines.encode()).hexdigest()

    def require(self, requirements: Iterable[str], *, extra: str = "", depth: int = 0) -> None:
        """Return if all requirements are met.

        Raises `PackageMissingError` with the first that is not, and `InputInvalidError` for what is
        no requirement.
        """
        from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - extra
        from packaging.utils import canonicalize_name  # noqa: PLC0415 - the `code` extra brings it

        for text in requirements:
            try:
                wanted = Requirement(text)
            except InvalidRequirement as error:
                message = str(error).splitlines()[0]
                raise InputInvalidError(f"{text[:80]!r} is no requirement: {message}") from None
            markers = {
                "python_version": ".".join(self.python_version.split(".")[:2]),
                "python_full_version": self.python_version,
                "extra": extra,
            }
            if wanted.marker is not None and not wanted.marker.evaluate(markers):
                continue
            name = canonicalize_name(wanted.name)
            if wanted.url is not None:
                raise PackageMissingError(f"{name} is asked for by address: nothing is installed")
            found = self.versions.get(name)
            if found is None:
                raise PackageMissingError(f"the environment of this miner has no {name}")
            if not wanted.specifier.contains(found, prereleases=True):
                raise PackageMissingError(f"{text} is required, and this miner has {name} {found}")
            if wanted.extras and depth == MAX_DEPTH:
                raise PackageMissingError(f"the extras of {name} ask for too many others")
            for each in sorted(wanted.extras):
                self.require(self.extras.get(name, ()), extra=each, depth=depth + 1)


def read_packages(folders: Iterable[Path], python_version: str) -> Packages:
    """Return the packages that lie in some folders. Blocking."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - the `code` extra brings it

    found: dict[str, Distribution] = {}
    for distribution in distributions(path=[str(folder) for folder in folders]):
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(canonicalize_name(name), distribution)
    return Packages(
        versions={name: each.version for name, each in found.items()},
        extras={name: tuple(each.requires or ()) for name, each in found.items()},
        python_version=python_version,
    )
