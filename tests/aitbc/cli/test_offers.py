"""Offers on the command line, at a true node."""

from pathlib import Path

from ledger.keystore import LOW_COST, Keystore
from tests.support.clients import HOLDER, served_node

PASSWORD = "correct horse"


async def test_an_offer_from_its_price_to_a_settled_job(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    Keystore(folder).add("holder", HOLDER.seed, PASSWORD.encode(), LOW_COST)
    async with served_node(tmp_path / "n") as served, served.connect("holder") as client:
        await served.register_miner()
        create = ("offers", "create", "--type", "llm_inference", "--price", "0.001")
        made = await served.read_command(*create, "--max-jobs", "2", who="miner")
        offer = made["offer_id"]
        (listed,) = (await served.read_command("offers", "list"))["offers"]
        assert (listed["offer_id"], listed["price"]) == (offer, "0.001")
        job = await client.jobs.create(prompt="Hi", params={"max_tokens": 16}, max_cost="0.5")
        accept = ("offers", "accept", offer, "--job", job.job_id)
        unsigned = await served.run_command(*accept, who="holder")
        assert unsigned.exit_code == 31 and "--key NAME" in unsigned.stderr
        low = await served.run_command(*accept, "--bid", "0.0001", who="holder")
        assert low.exit_code == 31 and "BID_TOO_LOW" in low.stderr
        accepted = await served.read_command(
            *accept, "--key", "holder", "--keystore", str(folder),
            who="holder", AITBC_KEYSTORE_PASSWORD=PASSWORD,
        )  # fmt: skip
        assert accepted["job_id"] == job.job_id
        cancelled = await served.read_command("offers", "cancel", offer, who="miner")
        assert cancelled["status"] == "cancelled"
        assert (await served.read_command("offers", "list"))["offers"] == []
        gone = await served.run_command(*accept, who="holder")
        assert gone.exit_code == 31 and "aitbc offers list" in gone.stderr
        await served.complete(job.job_id)
        stats = await served.read_command("offers", "stats")
        assert stats["active_miners"] == 1
