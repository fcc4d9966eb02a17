"""`python -m tests.fuzz.api [--examples N] [--seed S]`: schemathesis over every operation.

Four roles in turn: no key, a client's, a miner's, an operator's. A failure is an answer of 500 or
above, one that the API's document does not name, one that breaks its schema, or a success without
a key on a route that asks for one.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genesis.document import dump_genesis
from node import folder
from tests.support.custody import Keys, enrol
from tests.support.node import NODE, RunningNode, build_genesis, reopened_node

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method"
)
ROLES = ("none", "client", "miner", "operator")
UNBOUNDED = "900000000/minute, 900000000/hour"
"""Rates that no run reaches: an answer of 429 would hide all others."""


STREAMS = "/v1/jobs/{job_id}/stream"
"""One way lines of JSON, which schemathesis cannot write; the other open until a job's end."""
WAITING = ("/v1/jobs/available", "/v1/miners/poll")
"""Operations that wait for up to a minute where they are asked to."""


async def fuzz_node(
    place: Path,
    examples: int,
    seed: int,
    roles: Sequence[str] = ROLES,
    left_out: Sequence[str] = (),
) -> dict[str, int]:
    """Run against a node made in a folder; return the cases of each role. Raises on a failure."""
    genesis, data = build_genesis(), place / "node"
    await asyncio.to_thread(folder.create_folder, data, dump_genesis(genesis), NODE.seed)
    keys = await asyncio.to_thread(enrol, data)
    counts = {}
    options = [text for path in left_out for text in ("--exclude-path", path)]
    options += ["--max-examples", str(examples), "--seed", str(seed)]
    async with reopened_node(data, genesis, rate_limits=UNBOUNDED) as node:
        document = await node.read("/openapi.json")
        for role in roles:
            counts[role] = await _fuzz_role(node, document, keys, role, place, options)
        assert (await node.get("/livez")).status == 200
    return counts


async def _fuzz_role(
    node: RunningNode,
    document: dict[str, Any],
    keys: Keys,
    role: str,
    place: Path,
    options: Sequence[str],
) -> int:
    report = place / f"{role}.ndjson"
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{node.url}/openapi.json",
        "--exclude-path", STREAMS, "--checks", CHECKS, "--phases", "coverage,fuzzing", *options,
        "--warnings", "off", "--no-color", "--output-sanitize", "false", "--report", "ndjson",
        "--report-ndjson-path", str(report), "--request-timeout", "70",
    ]  # fmt: skip
    for name, value in keys.get(role, {}).items():
        command += ["--header", f"{name}: {value}"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=place, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"as {role}:\n{output.decode()}")
    answers = read_answers(report)
    assert answers
    if role == "none":
        for method, path, status in answers:
            operation = document["paths"][path].get(method.lower(), {"security": None})
            is_open = operation["security"] == []
            assert status >= 300 or is_open, f"{method} {path} answered {status} to anybody"
    return len(answers)


def read_answers(report: Path) -> list[tuple[str, str, int]]:
    """Return (method, path of the operation, status) of each case in a report."""
    answers = []
    for line in report.read_text().splitlines():
        event = json.loads(line).get("ScenarioFinished")
        if event is None:
            continue
        recorder = event["recorder"]
        for name, interaction in recorder["interactions"].items():
            case = recorder["cases"][name]["value"]
            if interaction["response"] is not None:
                status = interaction["response"]["status_code"]
                answers.append((case["method"], case["path"], status))
    return answers


def main() -> None:
    """Run; an exception is the failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.api")
    parser.add_argument("--examples", type=int, default=100, help="per operation and role")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        counts = asyncio.run(fuzz_node(Path(place), arguments.examples, arguments.seed))
    print(f"{sum(counts.values())} requests, 0 failures: {counts}")


if __name__ == "__main__":
    main()
