"""Proofs that moved money are checked by two libraries; what one refuses is told."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from sqlalchemy import Connection
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from aitbc.cli.node_folder import audit_database
from genesis.document import compute_chain_id
from ledger.transactions import JobSettle
from node import block_rows, folder
from node.chain_store import ChainStore
from node.exit_codes import ExitCode
from node.proof_audit import ProofReport, audit_proofs
from node.settings import load_settings
from node.sqlcipher import get_raw
from node.verify_chain import ChainDamaged
from tests.support.node import SettledJob, running_node
from zk.backend_arkworks import ARKWORKS, ArkworksBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Audited(NamedTuple):
    """A stopped node's folder, its settlements in order, and what an audit of it said meanwhile."""

    data: Path
    jobs: list[SettledJob]
    while_running: dict[str, object]
    notes: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def audited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Audited]:
    data = tmp_path_factory.mktemp("audit") / "node"
    notes: list[str] = []
    async with running_node(data) as node:
        await node.register_miner()
        jobs = [await node.settle_job(bytes([number]) * 32) for number in range(3)]
        record = await asyncio.to_thread(audit_database, load_settings(data=data), 1, notes.append)
    yield Audited(data, jobs, record, notes)


def with_store(data: Path, work: Callable[[ChainStore], Any]) -> Any:
    genesis = folder.open_genesis(data)
    database = folder.open_database(load_settings(data=data), genesis)
    try:
        store = ChainStore(database, compute_chain_id(genesis))
        try:
            return work(store)
        finally:
            store.close()
    finally:
        database.close_now()


def audit(data: Path, sample: int, **choices: Any) -> ProofReport:
    genesis = folder.open_genesis(data)
    report: ProofReport = with_store(
        data,
        lambda store: audit_proofs(
            store, genesis, sample, **{"reference": ARKWORKS, "clock": time.monotonic, **choices}
        ),
    )
    return report


async def test_the_libraries_agree_while_the_node_runs(audited: Audited) -> None:
    record = audited.while_running
    assert (record["valid"], record["settlements"], record["checked"]) == (True, 3, 1)
    assert "the node is running; checking a copy of this moment" in audited.notes
    assert not list(audited.data.glob(".verify-*"))
    seconds = record["py_ecc_seconds"]
    assert isinstance(seconds, float) and seconds > 0


@pytest.mark.parametrize(
    ("sample", "chosen"), [(1, [2]), (2, [2, 0]), (3, [2, 1, 0]), (9, [2, 1, 0])]
)
async def test_a_sample_is_spread_from_the_newest_to_the_oldest(
    audited: Audited, sample: int, chosen: list[int]
) -> None:
    def find(store: ChainStore) -> list[str]:
        _, positions = store.history.find_settlement_positions(sample)
        return [read_subject(store, position) for position in positions]

    found = with_store(audited.data, find)
    assert found == [audited.jobs[number].settled.removeprefix("tx_") for number in chosen]
    assert audit(audited.data, sample).checked == len(chosen)


def read_subject(store: ChainStore, position: int) -> str:
    outcome = store.database.read_now(
        lambda connection: block_rows.read_outcome(get_raw(connection), position)
    )
    return outcome.subject.hex()


class OtherCurve(ArkworksBackend):
    """A library with an error: it takes every product of pairings for another."""

    def pair(self, pairs: Any) -> Any:
        return super().pair([*pairs, pairs[0]]) if len(pairs) == 3 else super().pair(pairs)


async def test_a_library_with_an_error_is_told(audited: Audited) -> None:
    with pytest.raises(ChainDamaged, match="OtherCurve refuses it") as caught:
        audit(audited.data, 1, reference=OtherCurve())
    assert caught.value.exit_code is ExitCode.VERIFICATION_FAILED
    with pytest.raises(ChainDamaged, match="OtherCurve refuses it"):
        audit(audited.data, 1, backend=OtherCurve())


def swap_proof(store: ChainStore) -> None:
    """Give the middle settlement the newest one's proof, each true of its own statement."""
    _, (newest, middle, _) = store.history.find_settlement_positions(3)

    def write(connection: Connection) -> None:
        raw = get_raw(connection)
        found = [block_rows.read_located(raw, position) for position in (newest, middle)]
        proofs = [
            each.transaction.payload.proof
            for each in found
            if each is not None and isinstance(each.transaction.payload, JobSettle)
        ]
        (body,) = raw.execute(
            'select "transaction" from outcomes where position = ?', (middle,)
        ).fetchone()
        raw.execute(
            'update outcomes set "transaction" = ? where position = ?',
            (body.replace(proofs[1], proofs[0]), middle),
        )

    store.database.write_now(write)


async def test_a_stored_proof_that_does_not_hold_is_told(audited: Audited, tmp_path: Path) -> None:
    data = shutil.copytree(audited.data, tmp_path / "own")
    with_store(data, swap_proof)
    assert audit(data, 2).checked == 2
    with pytest.raises(ChainDamaged, match=f"{audited.jobs[1].job.hex()}.* does not hold"):
        audit(data, 3)
    result = run_audit(data, "3")
    assert (result.exit_code, result.stdout) == (33, "")
    assert "verify-chain" in result.stderr


async def test_the_command_says_what_it_checked(audited: Audited) -> None:
    result = run_audit(audited.data, "1", "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert (record["settlements"], record["checked"]) == (3, 1)
    assert record["seconds"] >= record["py_ecc_seconds"] > record["arkworks_seconds"]
    assert run_audit(audited.data, "0").exit_code == 2


def run_audit(data: Path, sample: str, *more: str) -> Result:
    command = ["node", "audit", "--data", str(data), "--zk-sample", sample, *more]
    return CliRunner(env={"AITBC_DATA": None}).invoke(app, command)
