"""The HTTP side of the node: the coordinator's job API and the chain's own routes on one port."""

import asyncio
import hmac
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import structlog
from aiohttp import web

from coordinator import service
from coordinator.coordinator import Coordinator
from coordinator.http.app import build_app
from coordinator.http.table import ROUTES as JOB_ROUTES
from coordinator.relay_server import answer_peer
from coordinator.settings import CoordinatorSettings, RateLimits
from ledger.crypto import compute_address
from node.bundles import build_receipt_bundle
from node.clock import get_wall_time
from node.coordinator_relay import CoordinatorRelay
from node.exit_codes import ExitCode, OperatorError
from node.listening import claim_files, listen
from node.routes.table import build_routes
from node.services import Services
from node.settings import NodeSettings, split_rates
from zk import devkey
from zk.process import ProverProcess
from zk.prover import ProvingKey
from zk.zkey import InvalidProvingKeyError

log = structlog.get_logger()

SEALING_PURPOSE = b"aitbc/sealing/1\x00"
STOP_SECONDS = 3.0
IDLE_SECONDS = 75.0
"""A connection without a whole request's head for so long is closed; the library waits an hour."""
POLLS_PER_REQUEST = 10
"""How many polls, heartbeats or looks at one's own jobs a key has for each other request."""


class ProvingKeyRefused(OperatorError):
    """The proving key is missing or another chain's."""

    exit_code = ExitCode.CONFIGURATION


class ListenRefused(OperatorError):
    """The address of the API is taken or not this machine's."""

    exit_code = ExitCode.CONFIGURATION


async def serve(services: Services) -> None:
    """Serve until cancelled. Raises `OperatorError`."""
    claim_files()
    async with ProverProcess(read_proving_key(services)) as prover:
        coordinator = build_coordinator(services, prover)
        services.questions.serve_relay(partial(answer_peer, coordinator))
        services.metrics.sockets.set_function(lambda: coordinator.open_sockets)
        services.peers.watch(
            lambda session: coordinator.note_reachable(compute_address(session.key))
        )
        is_started = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(service.run(coordinator, is_started), name="coordinator")
                await is_started.wait()
                await _listen(services, coordinator)
        finally:
            await coordinator.close()


async def _listen(services: Services, coordinator: Coordinator) -> None:
    """Answer requests until cancelled."""
    host, port = services.settings.api_host, services.settings.api_port
    routes = (*JOB_ROUTES, *build_routes(services))
    app = build_app(routes, coordinator)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=STOP_SECONDS,
        keepalive_timeout=IDLE_SECONDS,
    )
    await runner.setup()
    assert runner.server is not None
    try:
        try:
            listener = await listen(runner.server, host, port)
        except OSError as error:
            raise ListenRefused(f"cannot listen on {host}:{port}: {error.strerror}") from None
        addresses = [each.getsockname() for each in listener.sockets]
        log.info("api ready", addresses=[f"http://{a[0]}:{a[1]}" for a in addresses])
        try:
            await asyncio.Event().wait()
        finally:
            listener.close()
    finally:
        await runner.cleanup()


def build_coordinator(services: Services, prover: ProverProcess) -> Coordinator:
    """Return the job API's one object, made of the node's parts."""
    database, store = services.database, services.store

    async def build_bundle(job_id: bytes) -> dict[str, Any] | None:
        return await build_receipt_bundle(database, store, job_id)

    return Coordinator(
        chain=services.port,
        storage=database,
        settings=build_coordinator_settings(services.settings),
        seed=services.seed,
        sealing_key=derive_sealing_key(services.seed),
        prover=prover,
        relay=CoordinatorRelay(services.peers),
        verify_proof=services.gate.verify_now,
        build_bundle=build_bundle,
        clock=get_wall_time,
        version=version("aitbc"),
        environment="development" if services.genesis.is_dev else "production",
    )


def derive_sealing_key(seed: bytes) -> bytes:
    """Return the key that custodial accounts are sealed with, from the node's own key.

    Apart from the database's key, so that a stolen database and its key open no wallet.
    """
    return hmac.digest(seed, SEALING_PURPOSE, sha256)


def read_proving_key(services: Services) -> bytes:
    """Return the .zkey that custodial miners' receipts are proved with. Raises `OperatorError`."""
    path, key_id = services.settings.proving_key_path, services.genesis.proof.key_id
    if path is None and devkey.is_dev_key(key_id):
        return devkey.read_dev_zkey()
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
    per_minute, per_hour = split_rates(settings.rate_limits)
    return CoordinatorSettings(
        rate_limits=RateLimits(
            per_minute=per_minute,
            per_hour=per_hour,
            polling_per_minute=POLLS_PER_REQUEST * per_minute,
        ),
        cors_origins=settings.cors_origins,
        maximum_file_bytes=settings.max_file_bytes,
        default_model=settings.default_model,
        prices={"llm_inference": settings.price_per_token_base},
        default_price=settings.price_per_token_base,
        default_seconds=settings.job_timeout_seconds,
        content_retention=float(settings.retention_seconds),
    )
