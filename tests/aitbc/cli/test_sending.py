"""A job of an account whose key the node never has, on the command line."""

import asyncio
from pathlib import Path

from ledger.keystore import LOW_COST, Keystore
from tests.support.clients import HOLDER, served_node

PASSWORD = "correct horse"


async def test_a_job_is_submitted_and_cancelled_with_ones_own_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    Keystore(folder).add("holder", HOLDER.seed, PASSWORD.encode(), LOW_COST)
    key = ("--key", "holder", "--keystore", str(folder))
    environment = {"AITBC_KEYSTORE_PASSWORD": PASSWORD}
    async with served_node(tmp_path / "n") as served:
        submit = ("jobs", "submit", "Say hello.")
        unsigned = await served.run_command(*submit, "--max-cost", "0.5", who="holder")
        assert (unsigned.exit_code, unsigned.stdout) == (31, "")
        assert "SIGNATURE_NEEDED" in unsigned.stderr and "--key" in unsigned.stderr
        unbound = await served.run_command(*submit, *key, who="holder", **environment)
        assert unbound.exit_code == 31 and "max_cost" in unbound.stderr
        job = await served.read_command(
            *submit, *key, "--max-cost", "0.5", who="holder", **environment
        )
        async with asyncio.timeout(20), served.connect("holder") as client:
            while (await client.jobs.get(job["job_id"])).phase == "escrowing":
                pass
        ended = await served.read_command(
            "jobs", "cancel", job["job_id"], *key, who="holder", **environment
        )
        assert ended["status"] == "cancelled"
