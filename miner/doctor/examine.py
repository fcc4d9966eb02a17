"""Decides in which order a machine, its account and its kinds are looked at."""

import asyncio

from miner.doctor.account import check_nodes
from miner.doctor.kinds import check_kinds
from miner.doctor.machine import (
    check_data_folder,
    check_disk,
    check_gpus,
    check_key,
    check_proving_key,
    check_sandbox,
)
from miner.doctor.report import Report, build_report
from miner.settings import MinerSettings


async def examine(settings: MinerSettings) -> Report:
    """Return what there is and what is missing.

    Nothing is fetched, sent to the chain or written.
    """
    key, wallet = await asyncio.to_thread(check_key, settings)
    proving, key_id = await asyncio.to_thread(check_proving_key, settings)
    checks = [key, proving]
    checks.append(await asyncio.to_thread(check_data_folder, settings))
    checks += await asyncio.to_thread(check_disk, settings)
    checks += await asyncio.to_thread(check_gpus, settings)
    checks.append(await check_sandbox())
    checks += await check_nodes(settings, wallet, key_id)
    checks += await check_kinds(settings)
    return build_report(checks)
