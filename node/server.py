"""The HTTP side of the node: the coordinator's job API and the chain's own routes on one port."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from importlib.metadata import version
from typing import Any

import structlog
from aiohttp import web
from coordinator.routes import ROUTES as JOB_ROUTES

from coordinator.coordinator import Coordinator
from coordinator.follower import Follower
from coordinator.http.app import build_app
from coordinator.settings import CoordinatorSettings, RateLimits
from genesis.document import Genesis
from node.bundles import build_receipt_bundle
from node.chain import Chain
from node.chain_port import ChainPort
from node.chain_store import ChainStore
from node.clock import get_wall_time
from node.database import Database
from node.exit_codes import ExitCode, OperatorError
from node.metrics import Metrics
from node.proofs import ProofGate
from node.routes import build_node_routes
from node.settings import NodeSettings
from zk import devkey
from zk.process import ProverProcess
from zk.prover import ProvingKey

log = structlog.get_logger()

SEALING_PURPOSE = b"aitbc/sealing/1\x00"
STOP_SECONDS = 3.0


class ProvingKeyRefused(OperatorError):
    """The proving key is missing or another chain's."""

    exit_code = ExitCode.CONFIGURATION


@dataclass(frozen=True, slots=True)
class Services:
    """What the composition root hands to the HTTP side."""

    settings: NodeSettings
    genesis: Genesis
    seed: bytes
    database: Database
    store: ChainStore
    chain: Chain
    port: ChainPort
    gate: ProofGate
    metrics: Metrics


async def serve(services: Services) -> None:
    """Serve until cancelled. Raises `OperatorError`."""
    settings = services.settings
    async with (
        ProverProcess(read_proving_key(services)) as prover,
        _follow(services, prover) as (coordinator),
    ):
        routes = (*JOB_ROUTES, *build_node_routes(services))
        runner = web.AppRunner(
            build_app(routes, coordinator), access_log=None, shutdown_timeout=STOP_SECONDS
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.api_host, settings.api_port)
            try:
                await site.start()
            except OSError as error:
                raise OperatorError(
                    f"the API cannot listen on {settings.api_host}:{settings.api_port}: "
                    f"{error.strerror}"
                ) from None
            log.info("api ready", url=f"http://{settings.api_host}:{settings.api_port}")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _follow(services: Services, prover: ProverProcess) -> AsyncIterator[Coordinator]:
    """Run the coordinator's followers of the chain while the API is up."""
    database, store = services.database, services.store

    async def build_bundle(job_id: bytes) -> dict[str, Any] | None:
        return await build_receipt_bundle(database, store, job_id)

    coordinator = Coordinator(
        chain=services.port,
        storage=database,
        settings=build_coordinator_settings(services.settings),
        seed=services.seed,
        sealing_key=derive_sealing_key(services.seed),
        prover=prover,
        verify_proof=services.gate.verify_now,
        build_bundle=build_bundle,
        clock=get_wall_time,
        version=version("aitbc"),
        environment="development" if services.genesis.is_dev else "production",
    )
    follower = Follower(coordinator)
    await follower.start()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(follower.run(), name="follower"),
            group.create_task(follower.run_resubmission(), name="resubmission"),
        ]
        try:
            yield coordinator
        finally:
            for task in tasks:
                task.cancel()
            await coordinator.close()


def derive_sealing_key(seed: bytes) -> bytes:
    """Return the key that custodial accounts are sealed with, from the node's own key.

    Apart from the database's key, so that a stolen database and its key open no wallet.
    """
    return hmac.digest(seed, SEALING_PURPOSE, sha256)


def read_proving_key(services: Services) -> bytes:
    """Return the .zkey that custodial miners' receipts are proved with. Raises `OperatorError`."""
    path, key_id = services.settings.proving_key_path, services.genesis.proof.key_id
    if path is None and devkey.is_dev_key(key_id):
        return resources.files("zk.keys").joinpath(devkey.DEV_PROVING_KEY_FILE).read_bytes()
    if path is None:
        raise ProvingKeyRefused("set proving_key_path to the ceremony's .zkey of this chain")
    try:
        zkey = path.read_bytes()
        found = ProvingKey.load(zkey).verifying_key.key_id
    except (OSError, InvalidProvingKeyError) as error:
        raise ProvingKeyRefused(f"the proving key {path}: {error}") from None
    if found != key_id:
        raise ProvingKeyRefused(f"the proving key {path} is not the one of this chain")
    return zkey


def build_coordinator_settings(settings: NodeSettings) -> CoordinatorSettings:
    """Return the job API's part of the node's settings."""
    return CoordinatorSettings(
        rate_limits=RateLimits(
            per_minute=settings.rate_limit_per_minute, per_hour=settings.rate_limit_per_hour
        ),
        maximum_file_bytes=settings.max_file_bytes,
        default_model=settings.default_model,
        prices={"llm_inference": settings.price_per_token_base},
        default_price=settings.price_per_token_base,
        default_seconds=settings.job_timeout_seconds,
        content_retention=float(settings.retention_seconds),
    )
