"""Decides what each kind of job has and lacks on this machine, and how to get it.

Nothing is fetched. A kind is known to run because its engine came up here and now, which is what
`run` does; whatever keeps it from that has the engine's own words.
"""

import asyncio
import importlib.util
from typing import Final

from miner.doctor.report import MACHINE, Check, State, soften
from miner.engines import text
from miner.engines.interface import EngineFailedError
from miner.engines.text_backends import RemoteEndpoint
from miner.kinds import KINDS, USUAL, KindUnavailableError, find_missing_package
from miner.models import ModelMissingError, ModelStore, load_packaged_lock
from miner.opening import close_engines, open_engines
from miner.settings import MinerSettings

KINDS_HELP: Final = "docs/miners.md, Kinds"


async def check_kinds(settings: MinerSettings) -> list[Check]:
    """Return what each kind has and lacks: those of the settings, or those that need no naming.

    Where none are named, text has to run and the others may.
    """
    if settings.pool is not None:
        return [_check_pool()]
    checks: list[Check] = []
    for name in dict.fromkeys(settings.kinds or USUAL):
        is_needed = settings.kinds is not None or name == text.SERVICE
        found = await _check_kind(name, settings)
        if not is_needed:
            found = [soften(check) for check in found]
        checks += found
    return checks


async def _check_kind(name: str, settings: MinerSettings) -> list[Check]:
    if name == text.SERVICE and settings.text_endpoint is not None:
        return [await _check_endpoint(settings, settings.text_endpoint)]
    missing = find_missing_package(name)
    if missing is not None:
        remedy = f"pip install 'aitbc[{KINDS[name].extra}]'"
        return [Check(name, "packages", State.MISSING, f"{missing} is not installed", remedy)]
    checks = [Check(name, "packages", State.OK, ", ".join(KINDS[name].packages) or "none needed")]
    wanted = settings.text_model if name == text.SERVICE else KINDS[name].model
    if wanted:
        checks.append(await asyncio.to_thread(_check_model, name, wanted, settings))
    if all(check.state is State.OK for check in checks):
        checks.append(await _check_engine(name, settings))
    return checks


def _check_model(name: str, wanted: str, settings: MinerSettings) -> Check:
    store = ModelStore(settings.models_folder, load_packaged_lock())
    try:
        return Check(name, "model", State.OK, str(store.open(wanted)))
    except ModelMissingError as error:
        remedy = f"aitbc miner fetch {wanted} --models {settings.models_folder}"
        return Check(name, "model", State.MISSING, str(error), remedy)


async def _check_engine(name: str, settings: MinerSettings) -> Check:
    """Bring the engine up, as `run` does, and let it go."""
    try:
        engines = await open_engines(settings.model_copy(update={"kinds": [name], "pool": None}))
    except KindUnavailableError as error:
        return Check(name, "engine", State.MISSING, str(error), KINDS_HELP)
    try:
        about = await engines[name].prepare()
        return Check(name, "engine", State.OK, f"{about.text}; {about.device}")
    except EngineFailedError as error:
        return Check(name, "engine", State.MISSING, str(error), KINDS_HELP)
    finally:
        await close_engines(engines)


async def _check_endpoint(settings: MinerSettings, url: str) -> Check:
    served = settings.text_endpoint_model or settings.text_model
    endpoint = RemoteEndpoint(url, served, settings.text_endpoint_key.get_secret_value())
    try:
        await endpoint.ensure()
    except EngineFailedError as error:
        remedy = "start that server, or correct text_endpoint, _model and _key"
        return Check(text.SERVICE, "endpoint", State.MISSING, str(error), remedy)
    finally:
        await endpoint.close()
    return Check(text.SERVICE, "endpoint", State.OK, f"{url} serves {served}")


def _check_pool() -> Check:
    """Say what can be said from here of kinds that run on the nodes of a cluster."""
    if importlib.util.find_spec("ray") is None:
        return Check(
            MACHINE, "pool", State.MISSING, "ray is not installed", "pip install 'aitbc[ray]'"
        )
    return Check(MACHINE, "pool", State.OK, "kinds run on its nodes: aitbc miner doctor there")
