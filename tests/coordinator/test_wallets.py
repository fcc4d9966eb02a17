import asyncio
from pathlib import Path

import pytest

from coordinator import wallets
from ledger.rejection import Rejected, Rejection
from ledger.transactions import Transfer
from tests.support import self_custody
from tests.support.world import FUNDED, World, open_world


def record_nothing(connection: object, transaction: bytes) -> None:
    """There is no row that belongs to these."""


async def test_many_at_once_get_nonces_without_a_gap(world: World) -> None:
    world.chain.is_automatic = False
    address, recipient = (world.people[name].address for name in ("client", "other"))
    send = world.coordinator.wallets.send
    ids = await asyncio.gather(
        *(send(address, Transfer(recipient, 1), record_nothing) for _ in range(20))
    )
    assert len(set(ids)) == 20
    block = world.chain.produce()
    assert [t.nonce for t in block.transactions] == list(range(20))
    assert world.get_balance("other") == FUNDED + 20
    verdict = await world.coordinator.wallets.wait_final(ids[-1], 5)
    assert verdict == ("final", 0)


async def test_what_is_on_its_way_cannot_be_spent_again(world: World) -> None:
    world.chain.is_automatic = False
    address, recipient = (world.people[name].address for name in ("client", "other"))
    own = world.coordinator.wallets
    half = Transfer(recipient, FUNDED * 6 // 10)
    await own.send(address, half, record_nothing)
    with pytest.raises(Rejected) as caught:
        await own.send(address, half, record_nothing)
    assert caught.value.reason is Rejection.INSUFFICIENT_BALANCE
    assert await own.get_spendable(address) < FUNDED * 4 // 10
    world.chain.produce()
    await world.coordinator.wait_followed()
    with pytest.raises(Rejected):
        await own.send(address, half, record_nothing)
    await own.send(address, Transfer(recipient, FUNDED * 3 // 10), record_nothing)


async def test_the_seed_lies_sealed(world: World) -> None:
    person = world.people["client"]
    rows = await world.database.read(
        lambda c: c.exec_driver_sql("select sealed_seed from coordinator_accounts").fetchall()
    )
    assert all(row[0] is None or person.seed not in row[0] for row in rows)
    assert await world.coordinator.wallets.open_seed(person.address) == person.seed


@pytest.mark.parametrize("text", ["", "0", "zz", "00", "AB", "é", "0" * 20_000])
def test_what_is_no_signed_transaction(text: str) -> None:
    with pytest.raises(Rejected):
        wallets.decode_signed(text, bytes(32))


async def test_a_settlement_that_came_too_late_blocks_no_later_nonce(tmp_path: Path) -> None:
    async with open_world(tmp_path, submit_wait=0.1) as world:
        await world.register("miner", bond_base=str(20 * 10**9))
        late = (await world.submit())["job_id"]
        assert (await world.claim(late)).status == 200
        # The settlement is a row, and the lease ends before the mempool has it.
        world.chain.is_answering = False
        body = {"miner_id": "miner_miner", "result": {"text": "late"}, "units": 3}
        reply = await world.call("POST", f"/v1/jobs/{late}/complete", "miner", body)
        assert reply.status == 200, reply
        await world.stop()
        world.pass_time(700)
        world.chain.is_answering = True
        await world.start()
        # Well before the settlement's validity is over, the account goes on.
        fresh = (await world.submit())["job_id"]
        assert (await world.claim(fresh)).status == 200
        reply = await world.call("POST", f"/v1/jobs/{fresh}/complete", "miner", body)
        assert reply.status == 200, reply
        await world.until(f"/v1/jobs/{fresh}", "client", lambda job: job["status"] == "completed")
        assert (await world.call("GET", f"/v1/jobs/{late}", "client")).json["status"] == "pending"


async def test_transactions_that_cannot_move_hold_up_no_others(world: World) -> None:
    world.chain.is_automatic = False
    holder, client = world.people["holder"], world.people["client"]
    recipient = world.people["other"].address
    own = world.coordinator.wallets
    fee = own.compute_fee(Transfer(recipient, 1))
    everything = self_custody.sign(world, "holder", Transfer(recipient, FUNDED - fee))
    await world.chain.submit([bytes.fromhex(everything)])
    for nonce in range(1, wallets.RESUBMIT_BATCH + 2):
        raw = self_custody.sign(world, "holder", Transfer(recipient, 1), nonce)
        signed = wallets.decode_signed(raw, world.chain.chain_id)
        await own.send_signed(holder.address, signed, record_nothing, None)
    world.chain.produce()
    # None of the holder's can pay its fee now, for as long as they are valid.
    lost = await own.send(client.address, Transfer(recipient, 1), record_nothing)
    world.chain.forget_waiting()
    for _ in range(3):
        await own.resubmit()
    world.chain.produce()
    assert await own.wait_final(lost, 5) == ("final", 0)
