"""`aitbc receipt recheck`: a job from a node, run again here; verdicts and exit codes."""

import asyncio
import copy
import json
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from ledger.receipts import sign_receipt
from ledger.terms import compute_content_hash
from miner.models import load_packaged_lock
from miner.opening import close_engines, open_engines
from miner.settings import MinerSettings
from node.exit_codes import ExitCode
from tests.ledger.test_receipts import CORE
from tests.ledger.world import MINER
from tests.support.scripted_server import Prepared, serve

MODEL = load_packaged_lock().aliases["tiny"]
CONTENT = {
    "service": "stable_diffusion",
    "model": MODEL,
    "input": {"prompt": "a red ring on white"},
    "params": {"size": "32x32", "num_images": 1, "steps": 4},
}


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the real engine made, and the receipt's members about it."""

    async def run() -> Any:
        chosen: dict[str, Any] = {"kinds": ["stable_diffusion"], "device": "cpu"}
        engines = await open_engines(MinerSettings.model_construct(**chosen))
        try:
            task = engines["stable_diffusion"].read(CONTENT)
            return await task.run({}, lambda *_: None, asyncio.Event())
        finally:
            await close_engines(engines)

    result = asyncio.run(run())
    about = {"engine": result.engine, "device": result.device, "pins": dict(result.pins)}
    return result.answer, {**about, "units": result.units}


def recheck(
    result: dict[str, Any], *options: str, asked: dict[str, Any] = CONTENT, **members: Any
) -> Result:
    """Run the command against a node that hands over this result and a receipt of it."""
    signed = {
        "service": "stable_diffusion",
        "verification": "tolerance",
        "unit_type": "image",
        "model": MODEL,
        "input_hash": compute_content_hash(asked).hex(),
        "result_hash": compute_content_hash(result).hex(),
        **{name: value for name, value in members.items() if name != "content"},
    }
    core = msgspec.structs.replace(CORE, **signed)
    answers = [
        Prepared(body=sign_receipt(MINER.seed, core)),
        Prepared(body={"job_id": core.job_id, "results": result, "result": result}),
        Prepared(body=members.get("content", CONTENT)),
    ]
    with serve(*answers) as server:
        arguments = ["receipt", "recheck", core.job_id, "--api-url", server.url, *options]
        outcome = CliRunner(env={"AITBC_API_KEY": "aitbc_test"}).invoke(app, arguments)
    paths = [asked.path.rpartition("/")[2] for asked in server.asked]
    assert paths == ["receipt", "results", "content"][: len(paths)]
    return outcome


def test_what_the_engine_made_stands(made: tuple[dict[str, Any], dict[str, Any]]) -> None:
    result, about = made
    outcome = recheck(result, "--json", **about)
    assert outcome.exit_code == 0, outcome.output
    shown = json.loads(outcome.stdout)
    assert (shown["verdict"], shown["verification"]) == ("stands", "tolerance")
    assert (shown["measure"], shown["threshold"]) == ("PSNR of the worst row in dB", 40.0)
    assert shown["receipt"] == "signature verified"
    assert shown["pins_here"] == shown["pins"] == about["pins"]


def test_another_picture_is_refused(made: tuple[dict[str, Any], dict[str, Any]]) -> None:
    result, about = made
    forged = copy.deepcopy(result)
    forged["images"][0]["b64_json"] = "aGVsbG8="
    outcome = recheck(forged, **about)
    assert outcome.exit_code == ExitCode.VERIFICATION_FAILED
    assert "refused" in outcome.stdout and "does NOT stand" in outcome.stderr


def test_without_the_model_there_is_no_verdict(
    made: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, about = made
    other = {**CONTENT, "model": "another@" + "00" * 32}
    outcome = recheck(result, asked=other, content=other, **{**about, "model": other["model"]})
    assert outcome.exit_code == ExitCode.CANNOT_SAY
    assert "needs the model another" in outcome.stderr


def test_a_node_that_hands_over_another_job_is_found_out(
    made: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, about = made
    other = {**CONTENT, "input": {"prompt": "a blue ring"}}
    outcome = recheck(result, content=other, **about)
    assert outcome.exit_code == ExitCode.VERIFICATION_FAILED
    assert "the content is not the one that the receipt names" in outcome.stderr
