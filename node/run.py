"""The composition root: a node, put together in numbered steps, and run until it is told to stop.

`python -m node --data DIR`. Every `OperatorError` is a refusal to start or to go on: one line
on stderr and its own exit code (docs/operations.md).
"""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

import structlog
import uvloop

from consensus.block_tree import FinalHead
from consensus.machine import Consensus
from consensus.messages import Certificate, FinalityProof
from consensus.timing import Timing
from consensus.verification import Committee
from genesis.document import Genesis, compute_chain_id, load_verifying_key
from ledger import codec, crypto
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
from node.evidence_reporter import EvidenceReporter
from node.exit_codes import ExitCode, OperatorError
from node.key_watch import KeyWatch
from node.logs import configure_logs
from node.mempool import Mempool
from node.mempool_journal import DatabaseJournal, MemoryJournal
from node.metrics import Metrics
from node.network_service import NetworkService
from node.no_network import NoNetwork
from node.peers import Peers
from node.proofs import ProofGate
from node.question_server import QuestionServer
from node.server import serve
from node.services import Services
from node.settings import InvalidSettings, NodeSettings, load_settings, split_endpoint
from node.synchronizer import Synchronizer
from node.transaction_relay import TransactionRelay
from node.vote_journal import VoteJournal
from p2p.binding import make_identity
from p2p.interface import Network, NetworkSettings
from zk.backend_arkworks import ARKWORKS
from zk.verifier import AnyBackend

log = structlog.get_logger()

VERIFY_THREADS = 2


class SettingsRefused(OperatorError):
    """A setting has no meaning."""

    exit_code = ExitCode.CONFIGURATION


def open_network(settings: NodeSettings, chain_id: bytes, seed: bytes) -> Network:
    """Return the transport, which does not listen yet."""
    if settings.p2p_transport == "none":
        return NoNetwork()
    identity = make_identity(seed, chain_id, f"aitbc/{version('aitbc')}")
    host, port = split_endpoint(settings.p2p_listen)
    choices = NetworkSettings(
        host=host,
        port=port,
        bootstrap=settings.p2p_bootstrap,
        advertised=settings.p2p_advertised,
        max_observers=settings.p2p_max_observers,
        is_open=settings.p2p_max_observers > 0,
    )
    # Imported on demand: libp2p takes half a second and 21 MB, which a node without peers spares.
    if settings.p2p_transport == "process":
        from p2p.process import ProcessEngine, ProcessNetwork  # noqa: PLC0415

        logs = ("-m", "node.network_process", settings.log_level, settings.log_format)
        return ProcessNetwork(identity, choices, ProcessEngine(identity, choices, logs))
    from p2p.thread import ThreadNetwork  # noqa: PLC0415

    return ThreadNetwork(identity, choices)


async def run_node(
    settings: NodeSettings,
    *,
    accept_lost_votes: bool = False,
    open_network: Callable[[NodeSettings, bytes, bytes], Network] = open_network,
) -> None:
    """Run a node until it is cancelled. Raises `OperatorError`.

    `open_network` gives the transport for (settings, chain id, the node's key).
    """
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
        # 5. Consensus, with what this key has signed, and the peers it speaks to.
        network = open_network(settings, chain_id, seed)
        metrics.watch_network(network.get_counters)
        peers = Peers(network, crypto.compute_public_key(seed))
        synchronizer = Synchronizer(peers, chain)
        machine, votes = open_consensus(settings, genesis, chain, seed, accept_lost_votes)
        evidence = EvidenceReporter(seed)
        driver = ConsensusDriver(
            machine, chain, votes, metrics, peers, synchronizer, executor, evidence.report
        )
        stack.callback(driver.close)
        # 6. The way in for transactions, and their way to the other authorities.
        relay = TransactionRelay(peers, mempool, metrics)
        admission = Admission(
            mempool, journal, gate, rules, executor, chain, driver.on_work, relay.send,
            get_wall_time,
        )  # fmt: skip
        questions = QuestionServer(peers, chain, driver.get_block)
        watch = KeyWatch(peers, driver.repeat_votes)
        listener = NetworkService(
            network, peers, driver, synchronizer, relay, questions, watch, metrics
        )
        # 7. The API beside it; all end together.
        port = ChainPort(genesis, chain, admission, driver, peers, metrics)
        services = Services(
            settings, genesis, seed, database, store, chain, port, driver, peers, questions, gate,
            metrics,
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            group.create_task(driver.run(), name="consensus")
            group.create_task(synchronizer.run(driver.take_range), name="synchronizer")
            group.create_task(relay.run(admission), name="transactions")
            group.create_task(evidence.run(port), name="evidence")
            group.create_task(listener.run(), name="network")
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
    settings: NodeSettings, genesis: Genesis, chain: Chain, seed: bytes, accept_lost_votes: bool
) -> tuple[Consensus, VoteJournal]:
    """Return the machine and what it signs with. Raises `OperatorError`."""
    committee = Committee(chain.rules.chain_id, get_authorities(chain.view).current)
    journal = VoteJournal(
        settings.data / folder.JOURNAL_FILE,
        chain.rules.chain_id,
        seed,
        chain.store.read_sign_sequence(),
        override=accept_lost_votes,
    )
    is_alone = committee.size == 1 and committee.get_index(journal.key) == 0
    if settings.p2p_transport == "none" and not is_alone:
        journal.close()
        raise SettingsRefused("p2p_transport is none: the node must be its chain's one authority")
    parameters = genesis.parameters
    timing = Timing(
        parameters.round_trip_bound, parameters.block_interval, parameters.heartbeat_interval
    )
    head = FinalHead(chain.head_hash, chain.head.height, chain.head.view, read_certificate(chain))
    return Consensus(committee, journal.key, timing, journal.restore(head, committee)), journal


def read_certificate(chain: Chain) -> Certificate | None:
    """Return the certificate that makes the head final.

    Block 0 has none, and that of an epoch's last block says nothing to the next epoch.
    """
    if chain.head.height == 0 or chain.head.next_authorities != chain.head.authorities:
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
    # Here, not in `run_node`: it is the host that must not hold two, whatever runs in one process.
    key_lock = folder.KeyLock(folder.open_seed(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await run_node(settings, accept_lost_votes=accept_lost_votes)
    except asyncio.CancelledError:
        log.info("stopped")
    finally:
        key_lock.release()


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
