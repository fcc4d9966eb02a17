"""Decides what a miner needs of its machine: key file, proving key, disk, GPU, sandbox."""

import asyncio
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from aitbc.wallet import Wallet
from miner.doctor.report import ACCOUNT, MACHINE, Check, State
from miner.gpu.announcement import check_claim
from miner.gpu.device import DeviceMissingError, choose_device
from miner.gpu.hardware import Gpu
from miner.gpu.nvml import find_gpus, read_telemetry
from miner.run import MinerStopped, load_proving_key, load_seed
from miner.sandbox.interface import Command, Limits, SandboxFailedError, SandboxMissingError
from miner.sandbox.open import find_sandbox
from miner.settings import MinerSettings
from miner.spool import SPOOL, find_owner, list_claims

GIGABYTE: Final = 10**9
LEAST_FREE_BYTES: Final = GIGABYTE
"""Inputs, results and the spool of a few jobs side by side."""


def check_key(settings: MinerSettings) -> tuple[Check, Wallet | None]:
    """Return what is to be said of the key file, and the wallet that it opens. Blocking."""
    path = settings.key_file
    try:
        wallet = Wallet(load_seed(settings))
    except MinerStopped as error:
        remedy = f"chmod 600 {path}" if _is_loose(path) else "aitbc keys new NAME, and key_file"
        return Check(ACCOUNT, "key file", State.MISSING, str(error), remedy), None
    found = f"{path}, mode 0600, of {wallet.text_address}"
    return Check(ACCOUNT, "key file", State.OK, found), wallet


def check_proving_key(settings: MinerSettings) -> tuple[Check, bytes | None]:
    """Return what is to be said of the proving key, and the id of its verifying key. Blocking."""
    try:
        _, key_id = load_proving_key(settings)
    except MinerStopped as error:
        remedy = "the chain's .zkey from its operators, as proving_key_file"
        return Check(MACHINE, "proving key", State.MISSING, str(error), remedy), None
    name = settings.proving_key_file or "the DEV key, which only DEV chains accept"
    return Check(MACHINE, "proving key", State.OK, f"{name}, id {key_id.hex()[:16]}"), key_id


def check_data_folder(settings: MinerSettings) -> Check:
    """Return whose the data folder is, and what lies in its spool. Blocking."""
    spool = settings.data_folder / SPOOL
    try:
        owner = find_owner(spool)
        owed = len(list_claims(spool))
    except FileNotFoundError:
        return Check(MACHINE, "data folder", State.OK, f"{settings.data_folder}, not used yet")
    except OSError as error:
        remedy = f"a folder of this user's as data_folder, or chown {settings.data_folder}"
        return Check(MACHINE, "data folder", State.MISSING, str(error), remedy)
    found = f"{settings.data_folder}, {owed} jobs in its spool"
    if owner is None:
        return Check(MACHINE, "data folder", State.OK, found)
    return Check(
        MACHINE,
        "data folder",
        State.WARNING,
        f"{found}; process {owner or 'of another container'} mines with it",
        "another data_folder for another miner, or aitbc miner drain",
    )


def check_disk(settings: MinerSettings) -> list[Check]:
    """Return how much room there is where jobs' files and models lie. Blocking."""
    checks = []
    for name, folder in (
        ("disk of data", settings.data_folder),
        ("disk of models", settings.models_folder),
    ):
        free = shutil.disk_usage(_find_existing(folder)).free
        is_enough = free >= LEAST_FREE_BYTES
        checks.append(
            Check(
                MACHINE,
                name,
                State.OK if is_enough else State.WARNING,
                f"{free / GIGABYTE:.1f} GB free for {folder}",
                "" if is_enough else f"at least {LEAST_FREE_BYTES // GIGABYTE} GB",
            )
        )
    return checks


def check_gpus(settings: MinerSettings) -> list[Check]:
    """Return what GPUs there are, and whether the settings fit them. Blocking."""
    found = find_gpus()
    checks = [Check(MACHINE, "GPU", State.OK, _describe_gpu(gpu)) for gpu in found.gpus]
    if found.problem:
        checks.append(
            Check(MACHINE, "GPU", State.WARNING, found.problem, "nvidia-smi says what is wrong")
        )
    if not checks:
        checks.append(Check(MACHINE, "GPU", State.OK, "none, and no driver that shows one"))
    try:
        device = choose_device(settings.device, found)
        name = "the CPU" if device.gpu is None else device.gpu.name
        checks.append(Check(MACHINE, "device", State.OK, f"{settings.device}: {name}"))
        check_claim(settings)
        if (settings.gpu_name or settings.gpu_memory) and not (
            settings.text_endpoint or device.gpu
        ):
            raise DeviceMissingError("gpu_name and gpu_memory claim a GPU that is not here")
    except DeviceMissingError as error:
        remedy = "device auto without gpu_name and gpu_memory, or a GPU and its driver"
        checks.append(Check(MACHINE, "device", State.MISSING, str(error), remedy))
    return checks


async def check_sandbox() -> Check:
    """Run a program that does nothing in the sandbox for foreign bytes; say what bounds it had.

    Without one only the kinds that need it are missing, which they say themselves.
    """
    try:
        sandbox = await find_sandbox(allow_unsandboxed=False)
        with tempfile.TemporaryDirectory(prefix="aitbc-doctor-") as name:
            command = Command(arguments=("true",))
            ending = await sandbox.run(
                command, Limits(), Path(name), lambda line: None, asyncio.Event()
            )
    except (SandboxMissingError, SandboxFailedError) as error:
        remedy = "apt install bubblewrap, for kinds that run foreign bytes"
        return Check(MACHINE, "sandbox", State.WARNING, str(error), remedy)
    return Check(MACHINE, "sandbox", State.OK, f"{sandbox.name}, bounds by {ending.bounds}")


def _describe_gpu(gpu: Gpu) -> str:
    now = read_telemetry(gpu.uuid)
    parts = [
        f"{gpu.name}, {gpu.uuid}",
        f"{gpu.memory / GIGABYTE:.1f} GB" if gpu.memory else "",
        f"capability {gpu.capability}" if gpu.capability else "",
        f"driver {gpu.driver}",
        "counts its energy" if gpu.has_energy_counter else "no energy counter",
        "" if now.utilisation is None else f"{now.utilisation} % busy",
        "" if now.memory_used is None else f"{now.memory_used / GIGABYTE:.1f} GB used",
    ]
    return ", ".join(part for part in parts if part)


def _find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that there is."""
    return next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )


def _is_loose(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False
