"""The miner as a process: key, engines, prover, worker; what each failure's exit code is."""

import asyncio
import contextlib
import signal
from enum import IntEnum
from typing import Final

import structlog

from aitbc.client import AsyncAITBCClient
from aitbc.errors import AITBCError
from aitbc.wallet import Wallet
from ledger.keystore import KeystoreError, LoosePermissionsError, open_seed, read_private_file
from miner.delivery import Channel
from miner.draining import DRAIN_SIGNAL
from miner.engines.interface import ANY_MODEL
from miner.fleet import open_fleet
from miner.inputs import Inputs
from miner.kinds import KindUnavailableError
from miner.records import Records
from miner.registration import Registration
from miner.sender import ChainFacts, TransactionSender
from miner.settings import MinerSettings
from miner.settlement import Identity
from miner.spool import PURPOSE, SPOOL, Spool, SpoolBusyError
from miner.stopping import wait_for_stop
from miner.wire import Wire
from miner.worker import Worker, WorkerLimits
from zk.devkey import read_dev_zkey
from zk.process import ProverProcess
from zk.prover import ProvingKey
from zk.zkey import InvalidProvingKeyError

RETRY_SECONDS: Final = 2.0
MAX_PROVING_KEY_BYTES: Final = 64 * 1024 * 1024

log = structlog.get_logger(__name__)


class ExitCode(IntEnum):
    """How the miner ended; the numbers are those of the node and of the `aitbc` command."""

    OK = 0
    CONFIGURATION = 3
    KEY_FILE_PERMISSIONS = 12
    DATA_FOLDER_LOCKED = 16
    VERIFYING_KEY_REFUSED = 20
    TIMED_OUT = 34


class MinerStopped(Exception):
    """The miner cannot go on, for a reason that its operator can mend."""

    def __init__(self, code: ExitCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def run_miner(settings: MinerSettings, stop: asyncio.Event | None = None) -> int:
    """Mine until SIGTERM, SIGINT or `stop`, or until idle after SIGUSR1; return the exit code."""
    stopped = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    drain = asyncio.Event()
    signals = {signal.SIGTERM: stopped, signal.SIGINT: stopped, DRAIN_SIGNAL: drain}
    if stop is not None:
        signals.clear()
    for number, event in signals.items():
        loop.add_signal_handler(number, event.set)
    try:
        await _mine(settings, stopped, drain)
    except MinerStopped as error:
        log.error("the miner cannot run", reason=str(error), exit_code=int(error.code))
        return int(error.code)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
    return int(ExitCode.OK)


async def _mine(settings: MinerSettings, stop: asyncio.Event, drain: asyncio.Event) -> None:
    wallet = Wallet(load_seed(settings))
    zkey, key_id = load_proving_key(settings)
    try:
        spool = Spool(settings.data_folder / SPOOL, wallet.derive_secret(PURPOSE))
    except SpoolBusyError as error:
        raise MinerStopped(ExitCode.DATA_FOLDER_LOCKED, str(error)) from error
    async with contextlib.AsyncExitStack() as stack:
        records = Records(spool)
        stack.callback(records.close)
        client = AsyncAITBCClient(settings.api_urls, settings.api_key.get_secret_value())
        stack.push_async_callback(client.close)
        wire = Wire(settings.api_urls, settings.api_key.get_secret_value())
        stack.push_async_callback(wire.close)
        try:
            fleet = await wait_for_stop(stop, open_fleet(settings))
        except KindUnavailableError as error:
            raise MinerStopped(ExitCode.CONFIGURATION, str(error)) from error
        if fleet is None:
            return
        stack.push_async_callback(fleet.close)
        sender = TransactionSender(client, wallet)
        # A miner that owes nothing need not wait for a node to be told to end.
        ending = stop if await records.load() else drain
        facts = await wait_for_stop(ending, _read_facts(sender, stop))
        if facts is None:
            return
        if facts.key_id != key_id:
            raise MinerStopped(
                ExitCode.VERIFYING_KEY_REFUSED,
                f"the chain accepts proofs of key {facts.key_id.hex()}, "
                f"the proving key at hand is of {key_id.hex()}",
            )
        prover = ProverProcess(zkey)
        stack.push_async_callback(prover.close)
        await prover.start()
        identity = Identity(wallet, settings.miner_id, facts.chain_id, key_id)
        inputs = await asyncio.to_thread(
            Inputs, settings.data_folder / "inputs", wire, settings.miner_id
        )
        models = {service: engine.model for service, engine in fleet.engines.items()}
        prices = {service: settings.get_price(service) for service in fleet.engines}
        channel = Channel(client, sender, prover, records, identity, models, wire, inputs)
        registration = Registration(
            channel,
            capabilities=list(fleet.engines),
            models=[model for model in models.values() if model != ANY_MODEL],
            gpu_info=fleet.gpu_info,
            prices=prices,
            bond=settings.bond_base,
        )
        limits = WorkerLimits(
            concurrency=fleet.jobs,
            poll_seconds=settings.poll_seconds,
            drain_seconds=settings.drain_seconds,
            resend_seconds=settings.resend_seconds,
        )
        worker = Worker(channel, fleet.engines, registration, prices, limits)
        log.info("mining", miner=settings.miner_id, address=wallet.text_address, models=models)
        await worker.run(stop, drain)


def load_seed(settings: MinerSettings) -> bytes:
    """Return the account's seed. Raises `MinerStopped`."""
    try:
        data = read_private_file(settings.key_file)
        text = data.strip()
        if len(text) == 64:
            return bytes.fromhex(text.decode("ascii"))
        password = b""
        if settings.key_password_file is not None:
            password = read_private_file(settings.key_password_file).split(b"\n")[0].rstrip(b"\r")
        return open_seed(data, password)
    except LoosePermissionsError as error:
        raise MinerStopped(ExitCode.KEY_FILE_PERMISSIONS, str(error)) from error
    except (KeystoreError, OSError, ValueError) as error:
        raise MinerStopped(ExitCode.CONFIGURATION, f"the miner's key: {error}") from error


def load_proving_key(settings: MinerSettings) -> tuple[bytes, bytes]:
    """Return the proving key's bytes and the id of its verifying key. Raises `MinerStopped`."""
    try:
        if settings.proving_key_file is None:
            zkey = read_dev_zkey()
        else:
            with settings.proving_key_file.open("rb") as file:
                zkey = file.read(MAX_PROVING_KEY_BYTES)
        return zkey, ProvingKey.load(zkey).verifying_key.key_id
    except (InvalidProvingKeyError, OSError) as error:
        raise MinerStopped(ExitCode.VERIFYING_KEY_REFUSED, f"the proving key: {error}") from error


async def _read_facts(sender: TransactionSender, stop: asyncio.Event) -> ChainFacts | None:
    """Return the chain's facts, waiting for a node; None when stopped meanwhile."""
    while not stop.is_set():
        try:
            return await sender.read_facts()
        except AITBCError as error:
            log.warning("waiting for a node", error=str(error))
            await wait_for_stop(stop, asyncio.sleep(RETRY_SECONDS))
    return None
