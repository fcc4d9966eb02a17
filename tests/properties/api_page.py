"""`docs/api.md`: its tables of routes and of refusals by rule, made of what the code runs.

`python -m tests.properties.api_page` writes them again, after a change of routes or models. What is
written above the mark is written by hand.
"""

import ast
import asyncio
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from coordinator.http import problems
from coordinator.http.routing import Bucket
from coordinator.http.table import ROUTES
from ledger.rejection import Rejected, Rejection
from tests.architecture.sources import ROOT, iterate_modules
from tests.support.node import running_node

PAGE: Final = ROOT / "docs" / "api.md"
MARK: Final = "<!-- Made by `python -m tests.properties.api_page`; do not write below. -->\n"
BLOCK_REASONS: Final = range(30, 100)
"""Why a block, a vote or a file is refused: no answer names these."""
_LIMITS: Final = {
    Bucket.NORMAL: "normal", Bucket.POLLING: "often", Bucket.PUBLIC: "address", Bucket.NONE: "–",
}  # fmt: skip
_CODE: Final = re.compile(r"[A-Z]{2,}(?:_[A-Z]+)+")
_RAISERS: Final = ("Problem", "later")


def build_tables(document: dict[str, Any]) -> str:
    """Return all that stands below the mark."""
    parts = ["## Routes\n"]
    routes = {(route.method, route.path): route for route in ROUTES}
    for tag in document["tags"]:
        rows = []
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if operation["tags"] != [tag["name"]]:
                    continue
                route = routes.get((method.upper(), path))
                roles = sorted(route.roles) if route is not None else []
                bucket = route.bucket if route is not None and roles else Bucket.PUBLIC
                if route is not None and route.bucket is Bucket.NONE:
                    bucket = Bucket.NONE
                rows.append(
                    f"| `{method.upper()} {path}` | {operation['summary']} "
                    f"| {_write_roles(roles)} | {_LIMITS[bucket]} | {_write_body(operation)} "
                    f"| {_write_answers(operation)} | {_write_key(operation)} |"
                )
        head = (
            "| route | what | who | limit | body | answers | key |\n|---|---|---|---|---|---|---|"
        )
        parts.append(f"### {tag['name']}\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join((*parts, _build_rejections()))


def _write_roles(roles: Sequence[str]) -> str:
    return "public" if not roles else "any key" if len(roles) == 3 else ", ".join(roles)


def _write_body(operation: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    ((kind, content),) = operation["requestBody"]["content"].items()
    name = _write_schema(content["schema"]) if kind == "application/json" else f"`{kind}`"
    return name if operation["requestBody"]["required"] else f"({name})"


def _write_answers(operation: dict[str, Any]) -> str:
    written = []
    for status, answer in operation["responses"].items():
        if status != "default":
            kinds = answer.get("content", {}).items()
            shown = [
                _write_schema(content["schema"]) if content.get("schema") else f"`{kind}`"
                for kind, content in kinds
            ]
            written.append(" ".join((status, " or ".join(shown))).strip())
    return "; ".join(written)


def _write_schema(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    return " or ".join(_write_schema(each) for each in schema.get("anyOf", ())[:1]) or "JSON"


def _write_key(operation: dict[str, Any]) -> str:
    names = {parameter["name"] for parameter in operation["parameters"]}
    return "yes" if "Idempotency-Key" in names else ""


def _build_rejections() -> str:
    rows = []
    for reason in Rejection:
        if reason not in BLOCK_REASONS:
            problem = problems.from_rejection(Rejected(reason))
            rows.append(f"| {int(reason)} | `{problem.code}` | {problem.status} | {reason.doc} |")
    head = "| `rejection` | `error_code` | status | reason |\n|---|---|---|---|\n"
    return "## Refusals by the chain's rules\n\n" + head + "\n".join(rows) + "\n"


def find_codes() -> dict[str, set[int]]:
    """Return the error codes that the sources name, each with its statuses where they say them."""
    codes: dict[str, set[int]] = {
        code: {status} for status, code in problems._STATUS_CODES.items()
    }  # fmt: skip
    for path in iterate_modules(("coordinator", "node")):
        for call in _iterate_calls(ast.parse(path.read_text())):
            constants = [each.value for each in call.args if isinstance(each, ast.Constant)]
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name == "not_found":
                what = str(constants[0]) if constants else "job"
                codes.setdefault(what.upper().replace(" ", "_") + "_NOT_FOUND", set()).add(404)
            if name in _RAISERS:
                statuses = {each for each in constants if isinstance(each, int)}
                for each in constants[1:] if name == "Problem" else constants:
                    if isinstance(each, str) and _CODE.fullmatch(each):
                        codes.setdefault(each, set()).update(statuses or {503})
    return codes


def _iterate_calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


async def read_tables(place: Path) -> str:
    """Return the tables of a node that is run in a folder."""
    async with running_node(place / "node") as node:
        return build_tables(await node.read("/openapi.json"))


async def rewrite() -> None:
    """Write the tables into the page."""
    with tempfile.TemporaryDirectory() as place:
        tables = await read_tables(Path(place))
    above = PAGE.read_text().split(MARK)[0]
    PAGE.write_text(f"{above}{MARK}\n{tables}")


if __name__ == "__main__":
    asyncio.run(rewrite())
