"""The proving process: it proves, names errors, survives being killed, bounds its queue, ends."""

import asyncio
import os
import signal

import pytest

from tests.zk.samples import make_statement
from zk.devkey import load_dev_verifying_key, read_dev_zkey
from zk.process import ProverBusyError, ProverClosedError, ProverProcess
from zk.prover import UnsatisfiedStatement
from zk.verifier import verify
from zk.zkey import InvalidProvingKeyError

PUBLIC, WITNESS = make_statement()


def is_valid(proof: bytes) -> bool:
    return verify(load_dev_verifying_key(), PUBLIC.as_tuple(), proof)


async def test_it_proves_names_errors_and_comes_back_after_a_kill() -> None:
    async with ProverProcess(read_dev_zkey()) as prover:
        first = await prover.prove(PUBLIC, WITNESS)
        second = await prover.prove(PUBLIC, WITNESS)
        assert is_valid(first) and is_valid(second) and first != second

        wrong, _ = make_statement(amount=1)
        with pytest.raises(UnsatisfiedStatement) as caught:
            await prover.prove(wrong, WITNESS)
        assert caught.value.rules == ("amount_is_units_times_price",)

        before = prover.process_id
        assert before is not None
        os.kill(before, signal.SIGKILL)
        assert is_valid(await prover.prove(PUBLIC, WITNESS))
        after = prover.process_id
        assert after is not None and after != before
    with pytest.raises(ProcessLookupError):
        os.kill(after, 0)
    with pytest.raises(ProverClosedError):
        await prover.prove(PUBLIC, WITNESS)


async def test_its_queue_is_bounded_and_a_caller_may_give_up() -> None:
    async with ProverProcess(read_dev_zkey(), queue_limit=3) as prover:
        waiting = [asyncio.create_task(prover.prove(PUBLIC, WITNESS)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ProverBusyError):
            await prover.prove(PUBLIC, WITNESS)
        waiting[0].cancel()
        proofs = await asyncio.gather(*waiting[1:])
        assert all(is_valid(proof) for proof in proofs)
        assert is_valid(await prover.prove(PUBLIC, WITNESS))


async def test_a_refused_key_is_an_error_at_the_start() -> None:
    prover = ProverProcess(b"no key")
    with pytest.raises(InvalidProvingKeyError):
        await prover.start()
    await prover.close()
