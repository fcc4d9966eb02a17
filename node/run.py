"""The composition root: a node, put together in numbered steps, and run until it is told to stop.

`python -m node --data DIR`. Every `OperatorError` is a refusal to start or to go on: one line
on stderr and its own exit code (docs/operations.md).
"""

import argparse
import asyncio
import gc
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvloop

from consensus.block_tree import FinalHead
from consensus.machine import Consensus
from consensus.messages import Certificate, FinalityProof
from consensus.timing import Timing
from consensus.verification import Committee
from genesis.document import Genesis, compute_chain_id, load_verifying_key
from ledger import codec
from ledger.context import Rules
from ledger.state import get_authorities
from node import folder
from node.admission import Admission
from node.chain import Chain
from node.chain_port import ChainPort
from node.chain_store import ChainStore
from node.clock import get_wall_time
from node.consensus_driver import ConsensusDriver
from node.database import Database
from node.exit_codes import ExitCode, OperatorError
from node.logs import configure_logs
from node.mempool import Mempool
from node.mempool_journal import DatabaseJournal, MemoryJournal
from node.metrics import Metrics
from node.proofs import ProofGate
from node.server import serve
from node.services import Services
from node.settings import InvalidSettings, NodeSettings, load_settings
from node.vote_journal import VoteJournal
from zk.backend_arkworks import ARKWORKS
from zk.verifier import AnyBackend

log = structlog.get_logger()

VERIFY_THREADS = 2


class SettingsRefused(OperatorError):
    """A setting has no meaning."""

    exit_code = ExitCode.CONFIGURATION


class NotAuthority(OperatorError):
    """The chain gives this node nothing to do that this version can do."""

    exit_code = ExitCode.CONFIGURATION


async def run_node(settings: NodeSettings, *, accept_lost_votes: bool = False) -> None:
    """Run a node until it is cancelled. Raises `OperatorError`."""
    async with AsyncExitStack() as stack:
        # 1. The folder is ours alone, and names a chain whose key is fit.
        lock = folder.FolderLock(settings.data)
        stack.callback(lock.release)
        genesis = folder.open_genesis(settings.data)
        seed = folder.open_seed(settings)
        # 2. The database opens with its key or not at all.
        database = folder.open_database(settings, genesis)
        stack.push_async_callback(database.close)
        store = ChainStore(database, compute_chain_id(genesis))
        stack.callback(store.close)
        # 3. Rules and proofs.
        executor = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="verify")
        stack.callback(executor.shutdown)
        metrics = Metrics()
        gate = ProofGate(load_verifying_key(genesis), get_backend(settings), executor)
        chain_id = compute_chain_id(genesis)
        rules = Rules(chain_id, genesis.parameters, genesis.proof, gate.verify_now)
        mempool = Mempool(settings.mempool_transactions)
        # 4. What waited before the restart waits again.
        journal = load_mempool(settings, database, store, mempool)
        chain = Chain(store, mempool, journal, gate, rules, metrics, executor, get_wall_time)
        # 5. Consensus, with what this key has signed.
        driver = open_consensus(settings, genesis, chain, metrics, seed, accept_lost_votes)
        stack.callback(driver.close)
        admission = Admission(
            mempool, journal, gate, rules, executor, chain, driver.on_work, get_wall_time
        )
        # 6. The API beside it; both end together.
        port = ChainPort(genesis, chain, admission, driver, metrics)
        services = Services(settings, genesis, seed, database, store, chain, port, gate, metrics)
        async with asyncio.TaskGroup() as group:
            group.create_task(driver.run(), name="consensus")
            group.create_task(serve(services), name="api")


def get_backend(settings: NodeSettings) -> AnyBackend:
    """Return the library that verifies proofs."""
    if settings.zk_backend == "py_ecc":
        # Imported on demand: py_ecc takes a second to load, and few nodes choose it.
        from zk.backend_py_ecc import PY_ECC  # noqa: PLC0415

        return PY_ECC
    return ARKWORKS


def load_mempool(
    settings: NodeSettings, database: Database, store: ChainStore, mempool: Mempool
) -> DatabaseJournal | MemoryJournal:
    """Return where waiting transactions are kept, with the kept ones entered."""
    if settings.mempool_backend == "memory":
        return MemoryJournal()
    journal = DatabaseJournal(database)
    count = journal.load(mempool, store.state, store.get_head().chain_id)
    if count:
        log.info("mempool restored", transactions=count)
    return journal


def open_consensus(
    settings: NodeSettings,
    genesis: Genesis,
    chain: Chain,
    metrics: Metrics,
    seed: bytes,
    accept_lost_votes: bool,
) -> ConsensusDriver:
    """Return the driver of this node's consensus. Raises `OperatorError`."""
    committee = Committee(chain.rules.chain_id, get_authorities(chain.view).current)
    if committee.size > 1:
        raise NotAuthority(
            "this chain has several authorities: they need the network transport, which this "
            "version does not have"
        )
    journal = VoteJournal(
        settings.data / "journal.bin",
        chain.rules.chain_id,
        seed,
        chain.store.read_sign_sequence(),
        override=accept_lost_votes,
    )
    if committee.get_index(journal.key) is None:
        raise NotAuthority("the node's key is not the chain's authority, and it has no peers")
    parameters = genesis.parameters
    timing = Timing(
        parameters.round_trip_bound, parameters.block_interval, parameters.heartbeat_interval
    )
    head = FinalHead(chain.head_hash, chain.head.height, chain.head.view, read_certificate(chain))
    machine = Consensus(committee, journal.key, timing, journal.restore(head, committee))
    return ConsensusDriver(machine, chain, journal, metrics)


def read_certificate(chain: Chain) -> Certificate | None:
    """Return the certificate that makes the head final; block 0 has none."""
    if chain.head.height == 0:
        return None
    block = next(chain.store.iterate_blocks(chain.head.height))
    return codec.decode(block.certificate, FinalityProof, len(block.certificate)).certificate


def calm_garbage_collector() -> None:
    """Make cyclic collections rare: tens of thousands of waiting transactions are no garbage.

    With Python's thresholds the collector took a tenth of a loaded node's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def run_until_signal(settings: NodeSettings, accept_lost_votes: bool) -> None:
    """Run a node until SIGINT or SIGTERM."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await run_node(settings, accept_lost_votes=accept_lost_votes)
    except asyncio.CancelledError:
        log.info("stopped")


def run(flags: dict[str, Any], *, accept_lost_votes: bool = False) -> ExitCode:
    """Run a node with settings by flag; return how it ended."""
    try:
        settings = load_settings(**flags)
    except InvalidSettings as error:
        return refuse(SettingsRefused(str(error)))
    configure_logs("node", settings.log_level, settings.log_format)
    calm_garbage_collector()
    refusal: OperatorError | None = None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_until_signal(settings, accept_lost_votes))
    except* OperatorError as group:
        refusal = find_operator_error(group)
    return refuse(refusal) if refusal else ExitCode.OK


def find_operator_error(group: BaseExceptionGroup[OperatorError]) -> OperatorError:
    """Return the first refusal of a group."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return find_operator_error(first)
    return first


def refuse(error: OperatorError) -> ExitCode:
    """Say why the node does not run; return its exit code."""
    sys.stderr.write(f"aitbc node: {error}\n")
    return error.exit_code


def main() -> None:
    """The process: `--data DIR`, and every setting as `--name value`."""
    parser = argparse.ArgumentParser(prog="python -m node")
    parser.add_argument("--accept-lost-votes", action="store_true")
    for name in NodeSettings.model_fields:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name)
    flags = vars(parser.parse_args())
    accept = flags.pop("accept_lost_votes")
    sys.exit(run(flags, accept_lost_votes=accept))
