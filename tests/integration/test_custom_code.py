"""Code that comes with a job: posted as the first document has it, run by a miner, settled."""

import asyncio
import io
import zipfile
from pathlib import Path

from ledger.faults import Reason
from ledger.receipts import parse_receipt
from tests.support.miner_bench import mine
from tests.support.miner_market import open_market

MODEL = """
import json, pathlib, sys
given = json.load(sys.stdin)
pathlib.Path("histogram.csv").write_text("value,count\\n1,2\\n")
print(json.dumps({"mean": sum(given["values"]) / len(given["values"]), "type": given["type"]}))
"""
ADD = """(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "{\\"answer\\":42}")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 13))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"""


def pack(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.py", source)
    return buffer.getvalue()


async def test_code_is_posted_run_and_settled(tmp_path: Path) -> None:
    kinds = ["custom_code", "stable_diffusion"]
    async with open_market(tmp_path, kinds=kinds) as market, mine(market.settings):
        client = market.client
        archive = tmp_path / "code.zip"
        await asyncio.to_thread(archive.write_bytes, pack(MODEL))
        uploaded = await client.files.upload(archive)
        code = {"type": "python", "entrypoint": "model.py", "requirements": []}
        given = {"type": "numbers", "values": [1, 2, 6]}
        bodies = [
            {"type": "ai-inference", "model": {**code, "source_url": uploaded.file_id},
             "input": given, "output": {"type": "json"}},
            {"type": "ai-inference", "model": {"type": "wasm", "source": ADD}, "input": {}},
        ]  # fmt: skip
        absent = await client.jobs.create(
            {"type": "ai-inference", "model": {**code, "requirements": ["torch"], "source": "1"},
             "input": given}
        )  # fmt: skip
        jobs = [await client.jobs.create(body) for body in bodies]
        for job in jobs:
            await client.jobs.wait(job.job_id, timeout=60)
        results = [(await client.jobs.get_results(job.job_id))["results"] for job in jobs]
        receipts = [await client.jobs.get_receipt(job.job_id) for job in jobs]
        verdict = await client.receipts.verify(receipts[0].to_dict())
        (file,) = results[0]["files"]
        table = await client.files.download(file["file_id"])
        # It was first in the queue, so by now the miner has tried it.
        failed = await market.node.wait_job(bytes.fromhex(absent.job_id[4:]), "queued")
    python, wasm = results
    assert python["output"] == {"mean": 3, "type": "numbers"}
    assert (python["exit_code"], python["model"], file["name"]) == (0, "python", "histogram.csv")
    assert table.startswith(b"value,count")
    assert (wasm["output"], wasm["model"]) == ({"answer": 42}, "wasm")
    assert verdict.valid
    cores = [parse_receipt(receipt.to_dict())[0] for receipt in receipts]
    assert [(core.service, core.unit_type, core.units) for core in cores] == [
        ("custom_code", "second", 1)
    ] * 2
    assert [core.engine.split()[0] for core in cores] == ["CPython", "wasmtime"]
    assert [core.verification for core in cores] == ["none"] * 2
    assert [attempt["reason_code"] for attempt in failed["attempts"]] == [Reason.RESOURCES_MISSING]
