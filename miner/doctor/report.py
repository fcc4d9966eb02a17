"""Decides how what was looked at is told: one line for each thing, and one verdict."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

MACHINE: Final = "machine"
ACCOUNT: Final = "account"
NODE: Final = "node"


class State(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    """It runs without, or not as well."""
    MISSING = "missing"
    """It does not run without."""


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    subject: str
    """A kind of job, or `machine`, `account`, `node`."""
    name: str
    state: State
    found: str
    remedy: str = ""
    """What to do; empty where nothing is to be done."""


class Report(msgspec.Struct, frozen=True):
    """Everything that was looked at."""

    checks: tuple[Check, ...]
    can_run: bool
    """`run` with these settings would come up, as far as can be seen."""


def build_report(checks: Iterable[Check]) -> Report:
    """Return the checks with their verdict."""
    found = tuple(checks)
    return Report(found, all(check.state is not State.MISSING for check in found))


def describe_settings(problems: Iterable[str]) -> Report:
    """Return the report of settings that do not read: nothing else can be looked at."""
    remedy = "a flag, AITBC_MINER_<NAME>, or the file of --config: docs/miners.md"
    return build_report(
        Check(MACHINE, "settings", State.MISSING, problem, remedy) for problem in problems
    )


def soften(check: Check) -> Check:
    """Return the check of what may be missing: where it is, that is a warning."""
    if check.state is not State.MISSING:
        return check
    return msgspec.structs.replace(check, state=State.WARNING)
