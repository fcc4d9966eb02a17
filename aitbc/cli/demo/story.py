"""The demonstration: one job from escrow to settlement, told step by step, each claim checked."""

import json
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from aitbc.cli.demo import checks
from aitbc.cli.demo.checks import CheckFailed
from aitbc.cli.demo.kinds import SecondAct
from aitbc.cli.demo.show import Show
from aitbc.cli.demo.stage import find_pids, is_alive, running_network
from aitbc.cli.devnet.supervisor import read_events
from aitbc.cli.failures import CommandError
from aitbc.cli.genesis_file import load_checked
from aitbc.cli.jobs import find_text
from aitbc.cli.money import format_ait, format_full_ait
from aitbc.cli.sending import wait_until_final
from aitbc.client import AITBCClient
from aitbc.models import Job
from ledger.keystore import write_private_file
from node.exit_codes import ExitCode

JOB_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.15
"""Six or seven times a second: inside the rate limit of reading one's own jobs."""
FINAL_SECONDS: Final = 20.0

MODEL: Final = "smollm2-135m"
PEOPLE: Final = {
    "client": "client, pays for the job",
    "worker-1": "miner, runs the model",
    "validator-1": "node, coordinator and authority",
}


class Plan(NamedTuple):
    """What to ask, and the folder of the demonstration."""

    prompt: str
    max_tokens: int
    folder: Path


def tell(plan: Plan) -> None:
    """Run the demonstration. Raises `CommandError` when something does not hold."""
    show = Show()
    try:
        with running_network(plan.folder, show) as state:
            url, key = state["nodes"][0]["api"], state["api_keys"]["client"]
            with AITBCClient(url, key) as client:
                Story(plan, show, state, client).tell()
            show.step("Everything ends")
            pids = find_pids(state)
        show.check(not any(map(is_alive, pids)), f"all {len(pids)} processes have ended")
        show.end(f"All {show.checks} checks hold: {show.seconds:.0f} s.")
    except CheckFailed as error:
        raise CommandError(
            str(error), ExitCode.VERIFICATION_FAILED, f"read the logs in {plan.folder}"
        ) from None


class Story:
    """The steps, in order; each leaves what the later ones compare with."""

    def __init__(self, plan: Plan, show: Show, state: dict[str, Any], client: AITBCClient) -> None:
        self._plan = plan
        self._show = show
        self._state = state
        self._client = client
        self._node: dict[str, Any] = state["nodes"][0]
        self._genesis = Path(state["genesis"])
        self._submit_fee = 0

    def tell(self) -> None:
        """Tell everything. Raises `CheckFailed`."""
        self._introduce()
        before, supply = self._read_balances(), self._read_supply()
        self._show_balances(before, None)
        job = self._submit(before)
        job = self._follow(job)
        proven = self._show_settlement(job)
        after = self._read_balances()
        self._show_balances(after, before)
        self._check_balances(before, after, proven)
        SecondAct(self._show, self._client, self._plan.folder).tell()
        self._check_supply(supply, self._read_supply())
        self._check_disk()

    def _introduce(self) -> None:
        status = self._client.chain.get_status()
        self._show.step("A chain of its own, with one authority and one miner")
        self._show.fact("chain", self._state["chain_id"])
        self._show.fact("kind", "DEV: its proofs could be forged by anybody")
        self._show.fact("height", status.height)
        self._show.fact("node", f"{self._node['api']}, process {self._node['pid']}")
        miner = self._state["miners"][0]
        models = ", ".join(self._client.miners.get(miner["id"]).get("models") or [])
        self._show.fact("miner", f"{miner['id']}, process {miner['pid']}")
        self._show.fact("model", models)
        self._show.check(status.chain_id == self._state["chain_id"], "the node runs this chain")

    def _submit(self, before: dict[str, int]) -> Job:
        show = self._show
        show.step("The client submits a job")
        show.fact("prompt", self._plan.prompt)
        begin = time.monotonic()
        job = self._client.jobs.create(
            prompt=self._plan.prompt,
            model=MODEL,
            params={"max_tokens": self._plan.max_tokens, "temperature": 0.0},
        )
        show.fact("answered in", f"{1000 * (time.monotonic() - begin):.0f} ms")
        show.fact("job", job.job_id)
        show.check(
            job.status == "pending", "it is accepted, and runs only once its escrow is final"
        )
        show.step("Its escrow is locked on the chain")
        transaction = wait_until_final(self._client, job["settlement"]["tx"], FINAL_SECONDS)
        escrow, fee = int(job["escrow_base"]), int(transaction["fee_base"])
        show.fact("transaction", transaction.transaction_id)
        show.fact("block", transaction.height)
        show.fact("escrow", f"{format_ait(escrow)} AIT, for at most {job['max_units']} tokens")
        show.fact("fee", f"{format_ait(fee)} AIT")
        locked = self._client.explorer.get_job(job.job_id)
        show.check(int(locked["escrow_base"]) == escrow, "the chain's state holds the escrow")
        now = self._read_balances()
        show.check(
            now["client"] == before["client"] - escrow - fee,
            "escrow and fee have left the client's balance, to the last base unit",
        )
        self._submit_fee = fee
        return job

    def _follow(self, job: Job) -> Job:
        """Follow the job to its end, showing lease, text and settlement as they come."""
        show = self._show
        end = time.monotonic() + JOB_SECONDS
        shown: str | None = None
        while True:
            job = self._client.jobs.get(job.job_id)
            if shown is None and job.miner_id is not None:
                self._show_lease(job)
                shown = ""
                show.step("The miner runs the model")
                show.begin_text()
            text = find_text(job.result) or job.get("partial")
            if shown is not None and isinstance(text, str) and text.startswith(shown):
                show.text(text[len(shown) :])
                shown = text
            if job.is_over:
                break
            if time.monotonic() >= end:
                raise CheckFailed(f"the job is {job.phase} after {JOB_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        show.end_text()
        show.check(job.status == "completed", "the job is completed: its settlement is final")
        show.check(bool(shown), "the client has the text")
        return job

    def _show_lease(self, job: Job) -> None:
        show = self._show
        lease = self._client.explorer.get_job(job.job_id)["lease"]
        show.step("A miner takes the lease")
        if lease is not None:
            show.fact("claim", f"number {lease['number']} of {lease['miner_id']}")
            show.fact("since", lease["claimed_at"])
            show.fact("until", lease["ends_at"])
            show.fact("price", f"hidden in the commitment {lease['price_commit'][:16]}…")
        show.check(
            lease is not None and lease["miner_id"] == job.miner_id, "it stands on the chain"
        )

    def _show_settlement(self, job: Job) -> dict[str, Any]:
        show = self._show
        receipt = self._client.receipts.get(job.job_id)
        zk = receipt["zk"]
        show.step("The miner proved what it is owed, and the chain paid it by rule")
        transaction = self._client.chain.get_transaction(receipt["tx"])
        done = receipt["completed_ms"] / 1000
        block = self._client.explorer.get_block(str(receipt["height"]))
        verified = checks.time_proof(zk, load_checked(self._genesis))
        size = len(zk["proof"]) // 2
        show.fact("proof", f"{zk['scheme']} on {zk['curve']}, {size} bytes")
        show.fact("proved in", f"{self._read_proof_time(job.job_id) / 1000:.2f} s by the miner")
        show.fact("verified in", f"{verified:.1f} ms; with one base unit more it does not hold")
        show.fact(
            "final", f"{block['time_ms'] / 1000 - done:.1f} s after the last token, proof included"
        )
        show.fact("transaction", receipt["tx"])
        show.fact("block", f"{receipt['height']} ({block['transactions']} transaction)")
        show.check(transaction.code == 0, "the settlement is applied in a final block")
        bundle = self._export(job)
        show.step("The receipt verifies on its own, in a process that cannot use the network")
        begin = time.monotonic()
        proven = checks.verify_offline(bundle, self._genesis)
        show.fact("file", f"{bundle}, {bundle.stat().st_size} bytes")
        show.fact("took", f"{time.monotonic() - begin:.1f} s")
        show.check(proven["valid"] is True, "signature, opening, proof, block, state, authorities")
        show.check(proven["job_id"] == job.job_id, "it is the receipt of this job")
        show.check(proven["block_hash"] == block["hash"], "it names the block that settled it")
        return proven

    def _read_proof_time(self, job_id: str) -> int:
        """Return the milliseconds that the proof took, as the miner's log says."""
        lines = Path(self._state["miners"][0]["log"]).read_text().splitlines()
        for event in read_events(lines):
            if event.get("job") == job_id and "proof_ms" in event:
                return int(event["proof_ms"])
        raise CheckFailed("the miner's log does not tell how long the proof took")

    def _export(self, job: Job) -> Path:
        path = self._plan.folder / "receipt.json"
        bundle = self._client.receipts.get_bundle(job.job_id)
        write_private_file(path, json.dumps(bundle).encode(), is_new=False)
        return path

    def _check_balances(
        self, before: dict[str, int], after: dict[str, int], proven: dict[str, Any]
    ) -> None:
        show = self._show
        payout = int(proven["payout_base"])
        coordinator = int(proven["coordinator_share_base"])
        network = int(proven["network_share_base"])
        amount, refund = int(proven["amount_base"]), int(proven["refund_base"])
        show.table(
            ("where the escrow went", "AIT"),
            (
                (f"miner, for {proven['units']} tokens", format_full_ait(payout)),
                ("coordinator's share", format_full_ait(coordinator)),
                ("network's share", format_full_ait(network)),
                ("back to the client", format_full_ait(refund)),
            ),
        )
        change = {name: after[name] - before[name] for name in PEOPLE}
        show.check(payout + coordinator + network == amount, "payout and shares are the amount")
        show.check(
            change["client"] == -(amount + self._submit_fee),
            "the client paid the amount and one fee, and has the rest back",
        )
        show.check(sum(change.values()) == 0, "what one paid the others got: nothing else moved")

    def _check_supply(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        show = self._show
        show.step("The supply is what it was")
        show.table(
            ("base units", f"at block {before['height']}", f"at block {after['height']}"),
            (
                (name, before[f"{name}_base"], after[f"{name}_base"])
                for name in ("balances", "escrow", "bonds", "supply")
            ),
        )
        show.check(before["balanced"] and after["balanced"], "balances + escrow + bonds = supply")
        show.check(before["supply_base"] == after["supply_base"], "no money was made or lost")
        show.check(after["escrow_base"] == "0", "nothing stays in escrow")

    def _check_disk(self) -> None:
        show = self._show
        show.step("The node's database is unreadable without its key")
        database, key_file = Path(self._node["database"]), Path(self._node["key_file"])
        report = checks.inspect_database(database, key_file)
        show.fact("first bytes", report.first_bytes.hex(" "))
        for way, refusal in report.refusals:
            show.check(bool(refusal), f"{way}: {refusal}")
        show.check(report.tables > 0, f"with its key: {report.tables} tables")
        found = checks.find_plain_text(Path(self._node["data"]), self._plan.prompt)
        show.check(not found, "the prompt is nowhere in it in clear")

    def _read_balances(self) -> dict[str, int]:
        """Return the balance of each person in base units."""
        return {
            name: int(self._client.chain.get_account(self._state["accounts"][name]).balance_base)
            for name in PEOPLE
        }

    def _show_balances(self, now: dict[str, int], before: dict[str, int] | None) -> None:
        self._show.step("Balances before" if before is None else "Balances after")
        rows = []
        for name, sentence in PEOPLE.items():
            row = [sentence, format_full_ait(now[name])]
            if before is not None:
                change = now[name] - before[name]
                row.append(f"{'+' if change > 0 else ''}{format_full_ait(change)}")
            rows.append(row)
        columns = ("account", "AIT") if before is None else ("account", "AIT", "change")
        self._show.table(columns, rows)

    def _read_supply(self) -> dict[str, Any]:
        return self._client.chain.audit_supply().to_dict()
