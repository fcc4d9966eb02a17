"""A job that asks for a GPU: run where the engine computes on one, else given back."""

import asyncio
import json
import sys
from pathlib import Path

from ledger.entries import JobStatus
from ledger.faults import Reason
from ledger.receipts import parse_receipt
from ledger.state import get_miner
from tests.support.contract_server import MINER, ContractServer
from tests.support.gpu_driver import LARGE, build_driver, make_environment
from tests.support.miner_bench import make_settings, mine, until
from tests.support.text_endpoint import TextEndpoint

ASKED = {"gpu_type": "H100", "gpu_count": 1, "gpu_memory": 80 * 10**9}


async def test_a_job_that_asks_for_a_gpu_is_given_back_where_none_computes(tmp_path: Path) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    server.requirements = {"gpu_type": None, "gpu_count": 1, "gpu_memory": 0}
    async with server.serve(), endpoint.serve():
        server.submit()
        async with mine(make_settings(server, endpoint, tmp_path)):
            await until(lambda: server.failures)
    (failure,) = server.failures
    assert failure["reason_code"] == Reason.RESOURCES_MISSING
    assert failure["detail"].startswith("the job asks for a GPU, and this engine computes on")
    assert endpoint.asked == 0


async def test_it_is_run_where_the_operators_server_has_one_and_the_receipt_says_whose_word_it_is(
    tmp_path: Path,
) -> None:
    server, endpoint = ContractServer(), TextEndpoint()
    server.requirements = ASKED
    driver = build_driver(tmp_path)
    async with server.serve(), endpoint.serve():
        job_id = server.submit(max_tokens=6)
        key_file = make_settings(server, endpoint, tmp_path).key_file
        given = {
            "miner_id": "miner_a",
            "api_urls": json.dumps([server.url]),
            "api_key": "k",
            "key_file": str(key_file),
            "data_folder": str(tmp_path / "data"),
            "kinds": json.dumps(["llm_inference"]),
            "text_endpoint": endpoint.url,
            "text_endpoint_model": "served",
            "gpu_name": "h100",
        }
        names = {f"AITBC_MINER_{name.upper()}": value for name, value in given.items()}
        command = [sys.executable, "-m", "aitbc.cli.main", "miner", "run"]
        environment = make_environment(driver, LARGE, **names)
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await server.wait_for(job_id, JobStatus.SETTLED)
        finally:
            process.kill()
            await process.wait()
    miner = get_miner(server.state, "miner_a")
    assert miner is not None and miner.owner == MINER.address
    announced = json.loads(miner.metadata)["gpu_info"]
    assert announced == {"name": "NVIDIA H100 80GB HBM3", "memory": "81559MiB"}
    (report,) = server.completed.values()
    core, _ = parse_receipt(report["receipt"])
    assert core.device == "GPU NVIDIA H100 80GB HBM3, as the operator says"
