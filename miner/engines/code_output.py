"""Decides what a program's run comes to: an output that is JSON, its words, and its files.

The output is what `result.json` holds, else what was printed, if that as a whole is JSON. The files
that lie in the working folder itself are the result's; folders and names with a dot in front are
the program's own affair.
"""

import contextlib
import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rfc8785

from miner.engines.interface import InputInvalidError, ResultFile
from miner.sandbox.interface import MAX_LINE_BYTES

RESULT: Final = "result.json"
MAX_OUTPUT_BYTES: Final = 512 * 1024
"""Of what is printed, and of `result.json`."""
MAX_ANSWER_BYTES: Final = 900_000
"""A result is at most a megabyte of JSON, and a character may take six bytes of it."""


class Printed:
    """What a program prints, as far as a result may hold it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._has_long_line = False

    def add(self, line: str) -> None:
        """Take one line; the sandbox has cut those that were too long."""
        size = len(line.encode())
        self._size += size + 1
        self._has_long_line = self._has_long_line or size > MAX_LINE_BYTES - 4
        if self._size <= MAX_OUTPUT_BYTES:
            self._lines.append(line)

    def take(self) -> str:
        """Return what was kept of it."""
        return "\n".join(self._lines)

    def read(self) -> str:
        """Return all of it. Raises `InputInvalidError` where some is missing."""
        if self._size > MAX_OUTPUT_BYTES:
            raise InputInvalidError(
                f"the program printed more than {MAX_OUTPUT_BYTES} bytes: files may be larger"
            )
        if self._has_long_line:
            raise InputInvalidError(
                f"the program printed a line of over {MAX_LINE_BYTES} bytes: {RESULT} may be larger"
            )
        return self.take()


def build_answer(
    folder: Path, exit_code: int, printed: str, errors: str, **others: int
) -> dict[str, Any]:
    """Return a run's answer. Raises `InputInvalidError` for an output that is none."""
    path = folder / RESULT
    output: Any = None
    if path.is_file():
        with path.open("rb") as file:
            held = file.read(MAX_OUTPUT_BYTES + 1)
        if len(held) > MAX_OUTPUT_BYTES:
            raise InputInvalidError(f"{RESULT} is over {MAX_OUTPUT_BYTES} bytes")
        try:
            output = _read_json(held)
        except (ValueError, RecursionError) as error:
            raise InputInvalidError(f"{RESULT} is no JSON that can be hashed: {error}") from None
    else:
        # What is no JSON are words, and they are the answer as they are.
        with contextlib.suppress(ValueError, RecursionError):
            output, printed = _read_json(printed), ""
    answer = {
        "exit_code": exit_code,
        "output": output,
        "stdout": printed,
        "stderr": errors,
        **others,
    }
    if len(json.dumps(answer)) > MAX_ANSWER_BYTES:
        raise InputInvalidError(f"the output is over {MAX_ANSWER_BYTES} bytes: files may be larger")
    return answer


def _read_json(text: str | bytes) -> Any:
    """Return a value that has a canonical form. Raises `ValueError` and `RecursionError`."""
    value = json.loads(text)
    rfc8785.dumps(value)
    return value


def list_files(folder: Path) -> tuple[ResultFile, ...]:
    """Return the files that a run left as its result. Raises `InputInvalidError`."""
    files = []
    for path in sorted(folder.iterdir()):
        if path.name == RESULT or path.name.startswith(".") or not path.is_file():
            continue
        if not path.name.isprintable():
            raise InputInvalidError(f"not the name of a result file: {path.name!r}")
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        files.append(ResultFile(path, path.name, kind))
    return tuple(files)


def read_report(path: Path) -> Mapping[str, Any]:
    """Return what our own program in the sandbox wrote, and remove it. Raises `ValueError`."""
    report = json.loads(path.read_bytes())
    path.unlink()
    if not isinstance(report, dict):
        raise ValueError("not a report")
    return report
