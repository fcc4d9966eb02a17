"""The documented examples, and whether an answer has every member of one with the same type."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fixtures" / "seeds"


def load_requests() -> dict[str, Any]:
    """Return the documented bodies of `POST /v1/jobs`, by shape."""
    loaded: dict[str, Any] = json.loads((FOLDER / "job_requests.json").read_text())
    return loaded


def load_request(name: str) -> Any:
    """Return a documented body of another route."""
    return json.loads((FOLDER / "requests.json").read_text())[name]


def load_answer(name: str) -> Any:
    """Return a documented answer."""
    return json.loads((FOLDER / "answers.json").read_text())[name]


def find_missing(answer: Any, example: Any, path: str = "", is_loose: bool = True) -> list[str]:
    """Return where an answer lacks a member of the example or has another type there.

    A null on either side goes with every type, if `is_loose`.
    """
    if is_loose and (answer is None or example is None):
        return []
    if isinstance(example, dict):
        if not isinstance(answer, dict):
            return [path]
        return [
            place
            for name, value in example.items()
            for place in (
                find_missing(answer[name], value, f"{path}/{name}", is_loose)
                if name in answer
                else [f"{path}/{name}"]
            )
        ]
    if isinstance(example, list):
        if not isinstance(answer, list):
            return [path]
        return [
            place
            for number, value in enumerate(answer)
            for place in find_missing(value, example[0], f"{path}/{number}", is_loose)
        ]
    if isinstance(example, bool) or isinstance(answer, bool):
        return [] if isinstance(answer, bool) and isinstance(example, bool) else [path]
    if isinstance(example, int | float):
        return [] if isinstance(answer, int | float) else [path]
    return [] if type(answer) is type(example) else [path]
