"""Decides what each step of a ceremony does, and what makes its outcome trustworthy.

The key is sound if one contributor of each phase, anyone, kept no secret. snarkjs does the
mathematics; this file keeps the record, refuses steps out of order, and in `verify` checks the
record, the files and the key against each other from nothing but the folder.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from zk.ceremony.snarkjs import SNARKJS_VERSION, Snarkjs
from zk.ceremony.transcript import (
    CIRCUIT_FILE,
    KEY_FILE,
    BeaconValue,
    CeremonyError,
    Iterations,
    Kind,
    Name,
    Phase,
    Step,
    Transcript,
    compute_file_hash,
    compute_file_name,
    read_transcript,
    write_transcript,
)
from zk.devkey import is_dev_key
from zk.verifying_key import VerifyingKey
from zk.zkey import read_zkey

CURVE: Final = "bls12-381"
POWER: Final = 11
"""The settlement circuit has 1,890 constraints; with its inputs they fit 2**11 rows."""

ENTROPY_BYTES: Final = 64
DEFAULT_ITERATIONS: Final = 10
_CONTRIBUTION: Final = re.compile(r"ontribution #(\d+):? ([^:\n]*):?$", re.MULTILINE)
_BEACON: Final = re.compile(r"Beacon generator: ([0-9a-f]+)$", re.MULTILINE)


class Report(NamedTuple):
    """What a check of a transcript found. `key_id` is None until the ceremony is finished."""

    circuit_hash: str
    contributors: tuple[list[str], list[str]]
    """Names by phase."""
    key_id: bytes | None


def new_ceremony(folder: Path, circuit: bytes, snarkjs: Snarkjs, power: int = POWER) -> Transcript:
    """Start a ceremony for a circuit (the bytes of its `.r1cs`) in an empty or new folder.

    Raises:
        CeremonyError: the folder holds something already.
        SnarkjsError: snarkjs failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CeremonyError(f"{folder} is not empty")
    folder.joinpath(CIRCUIT_FILE).write_bytes(circuit)
    transcript = Transcript(
        format="aitbc-ceremony/1",
        snarkjs=SNARKJS_VERSION,
        circuit_hash=compute_file_hash(folder.joinpath(CIRCUIT_FILE)),
        power=power,
    )
    file = folder.joinpath(compute_file_name(0, 1, "new"))
    snarkjs.run("powersoftau", "new", CURVE, str(power), file)
    return _append(folder, transcript, 1, "new")


def contribute(folder: Path, name: str, snarkjs: Snarkjs, more_entropy: str = "") -> Transcript:
    """Add one's own randomness to the open phase; the secret never leaves the process that uses it.

    Raises:
        CeremonyError: the transcript is broken or finished, or the name is not plain.
        SnarkjsError: snarkjs failed.
    """
    _check(name, Name, "name")
    transcript = _advance(folder, read_transcript(folder), snarkjs)
    phase = _require_open_phase(transcript)
    before, after = _files(folder, transcript, phase, "contribution")
    snarkjs.run(
        "powersoftau" if phase == 1 else "zkey",
        "contribute",
        before,
        after,
        f"--name={name}",
        entropy=os.urandom(ENTROPY_BYTES).hex() + more_entropy.replace("\n", " "),
    )
    return _append(folder, transcript, phase, "contribution", name=name)


def apply_beacon(
    folder: Path,
    value: str,
    snarkjs: Snarkjs,
    name: str = "beacon",
    iterations: int = DEFAULT_ITERATIONS,
    *,
    without_contributions: bool = False,
) -> Transcript:
    """Close the open phase with public randomness that nobody could know beforehand.

    After phase 1 the circuit's phase is set up; after phase 2 the verifying key is exported.

    Args:
        value: lower-case hex of 16 to 64 bytes.
        without_contributions: for the DEV key alone, whose secrets everybody may know.

    Raises:
        CeremonyError: no contribution yet, a broken or finished transcript, a bad value.
        SnarkjsError: snarkjs failed.
    """
    _check(name, Name, "name")
    _check(value, BeaconValue, "beacon value")
    _check(iterations, Iterations, "number of iterations")
    transcript = _advance(folder, read_transcript(folder), snarkjs)
    phase = _require_open_phase(transcript)
    if not without_contributions and not transcript.contributors(phase):
        raise CeremonyError(f"phase {phase} has no contribution yet")
    before, after = _files(folder, transcript, phase, "beacon")
    snarkjs.run(
        "powersoftau" if phase == 1 else "zkey",
        "beacon",
        before,
        after,
        value,
        str(iterations),
        f"--name={name}",
    )
    transcript = _append(
        folder, transcript, phase, "beacon", name=name, beacon=value, iterations=iterations
    )
    return _advance(folder, transcript, snarkjs)


def _advance(folder: Path, transcript: Transcript, snarkjs: Snarkjs) -> Transcript:
    """Do what follows without anybody's choice, again after an interruption."""
    if _last_kind(transcript) == (1, "beacon"):
        before, after = _files(folder, transcript, 1, "prepare")
        snarkjs.run("powersoftau", "prepare", "phase2", before, after)
        transcript = _append(folder, transcript, 1, "prepare")
    if _last_kind(transcript) == (1, "prepare"):
        before, after = _files(folder, transcript, 2, "setup")
        snarkjs.run("groth16", "setup", folder.joinpath(CIRCUIT_FILE), before, after)
        transcript = _append(folder, transcript, 2, "setup")
    if transcript.is_finished and not folder.joinpath(KEY_FILE).exists():
        last = folder.joinpath(transcript.steps[-1].file)
        snarkjs.run("zkey", "export", "verificationkey", last, folder.joinpath(KEY_FILE))
    return transcript


def verify(folder: Path, circuit_hash: str, snarkjs: Snarkjs) -> Report:
    """Check everything that the folder holds, whoever made it.

    Args:
        circuit_hash: sha256 of the `.r1cs` that the checker's own code makes.

    Raises:
        CeremonyError: naming what is wrong.
        SnarkjsError: snarkjs refuses a file.
    """
    transcript = read_transcript(folder)
    if transcript.circuit_hash != circuit_hash:
        raise CeremonyError("the ceremony is for another circuit")
    if transcript.snarkjs != SNARKJS_VERSION:
        raise CeremonyError(f"the ceremony was made with snarkjs {transcript.snarkjs}")
    last = {step.phase: folder.joinpath(step.file) for step in transcript.steps}
    output = snarkjs.run("powersoftau", "verify", last[1])
    _check_names(output, transcript, 1)
    if 2 in last and transcript.steps[-1].kind != "setup":
        output = snarkjs.run("zkey", "verify", folder.joinpath(CIRCUIT_FILE), last[1], last[2])
        _check_names(output, transcript, 2)
    return Report(
        circuit_hash=transcript.circuit_hash,
        contributors=(transcript.contributors(1), transcript.contributors(2)),
        key_id=_verify_key(folder, transcript, last[2]) if transcript.is_finished else None,
    )


def _verify_key(folder: Path, transcript: Transcript, zkey: Path) -> bytes:
    if not (transcript.contributors(1) and transcript.contributors(2)):
        raise CeremonyError("a phase was closed without a contribution")
    key = read_zkey(zkey.read_bytes()).verifying_key
    if VerifyingKey.from_snarkjs(folder.joinpath(KEY_FILE).read_bytes()) != key:
        raise CeremonyError(f"{KEY_FILE} is not the key that the last step made")
    if is_dev_key(key.key_id):
        raise CeremonyError("this is the DEV key")
    return key.key_id


def _check_names(output: str, transcript: Transcript, phase: Phase) -> None:
    """The contributions and beacons inside the file are those of the record, in that order."""
    inside = [(int(number), name) for number, name in _CONTRIBUTION.findall(output)]
    steps = [step for step in transcript.steps if step.phase == phase]
    recorded = [step.name for step in steps if step.name is not None]
    beacons = [step.beacon for step in steps if step.beacon is not None]
    is_same = sorted(inside) == list(enumerate(recorded, start=1))
    if not is_same or _BEACON.findall(output) != beacons:
        raise CeremonyError(f"the contributions inside phase {phase} differ from the transcript")


def _require_open_phase(transcript: Transcript) -> Phase:
    if transcript.is_finished:
        raise CeremonyError("the ceremony is finished")
    if not transcript.steps:
        raise CeremonyError("the ceremony was not started; begin it again")
    return transcript.phase


def _last_kind(transcript: Transcript) -> tuple[int, str] | None:
    return (transcript.steps[-1].phase, transcript.steps[-1].kind) if transcript.steps else None


def _files(folder: Path, transcript: Transcript, phase: Phase, kind: Kind) -> tuple[Path, Path]:
    steps = transcript.steps
    return folder.joinpath(steps[-1].file), folder.joinpath(
        compute_file_name(len(steps), phase, kind)
    )


def _append(
    folder: Path,
    transcript: Transcript,
    phase: Phase,
    kind: Kind,
    name: str | None = None,
    beacon: str | None = None,
    iterations: int | None = None,
) -> Transcript:
    file = compute_file_name(len(transcript.steps), phase, kind)
    if not folder.joinpath(file).exists():
        raise CeremonyError(f"snarkjs made no {file}")
    step = Step(
        phase=phase,
        kind=kind,
        file=file,
        sha256=compute_file_hash(folder.joinpath(file)),
        name=name,
        beacon=beacon,
        iterations=iterations,
    )
    steps: Sequence[Step] = (*transcript.steps, step)
    transcript = msgspec.structs.replace(transcript, steps=tuple(steps))
    write_transcript(folder, transcript)
    return transcript


def _check(value: object, kind: object, what: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise CeremonyError(f"not a usable {what}: {error}") from error
