"""What a settlement has to pass before it waits for a block, and what a false one may cost."""

from pathlib import Path

from ledger import terms
from ledger.terms import PriceTerms
from ledger.transactions import JobClaim, JobSettle
from node.admission import MAX_FALSE_PROOFS
from tests.support.node import CLIENT, MINER, running_node
from zk.field import encode_field


async def test_a_lease_gets_no_more_than_some_false_proofs_checked(tmp_path: Path) -> None:
    async with running_node(tmp_path / "data") as node:
        await node.register_miner()
        job, submit, _ = node.build_submit(b"false".ljust(32, b"\0"))
        await node.send(CLIENT, submit)
        price = terms.commit_price_terms(PriceTerms(1, bytes(32)))
        await node.send(MINER, JobClaim(job, "miner_one", price))
        count = MAX_FALSE_PROOFS + 8
        raws = [
            node.sign(
                MINER, JobSettle(job, encode_field(number), 1, 1, bytes(192)), nonce=2
            ).raw.hex()
            for number in range(count)
        ]
        reply = await node.post("/v1/transactions", raws)
        assert reply.status == 200
        assert {verdict["error_code"] for verdict in reply.body} == {"BAD_PROOF"}
        unchecked = [verdict for verdict in reply.body if "too many" in verdict["detail"]]
        assert len(unchecked) == 8
        # Nobody else pays for it: the account's other transactions and other leases go on.
        await node.settle_job(b"true".ljust(32, b"\0"))
