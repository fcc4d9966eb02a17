"""`docs/api.md` says what the code does: every route, every error code, every reason."""

import re
from pathlib import Path

from tests.properties.api_page import MARK, PAGE, find_codes, read_tables

ROW = re.compile(r"^\| `([A-Z_]+)` \| (\d{3}) \|", re.MULTILINE)
BY_RULE = {"INSUFFICIENT_BALANCE", "JOB_ALREADY_CLAIMED", "JOB_ALREADY_COMPLETED"}
"""Codes of the chain's rules that the page explains among the others."""
NONE = "_NOT_FOUND"
OF_A_JOB = {"JOB_FAILED"}
"""Put together from a job's status."""


async def test_its_tables_are_those_of_the_code(tmp_path: Path) -> None:
    assert PAGE.read_text().split(MARK + "\n")[1] == await read_tables(tmp_path), (
        "run `python -m tests.properties.api_page`"
    )


def test_it_explains_every_error_code() -> None:
    explained = {code: int(status) for code, status in ROW.findall(PAGE.read_text())}
    # What was not found is explained once, for all kinds of it.
    named = {code: found for code, found in find_codes().items() if not code.endswith(NONE)}
    assert set(explained) - BY_RULE - OF_A_JOB - {f"JOB{NONE}"} == set(named)
    assert [code for code in named if explained[code] not in named[code]] == []
