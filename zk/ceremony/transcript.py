"""Decides what the public record of a ceremony holds, and which order of steps is legal.

A ceremony is a folder: `ceremony.json`, the circuit, and every file that a step made. Who has the
folder can check all of it; who contributes adds to it and hands it on. Section P5 of
docs/protocol/proof.md.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

TRANSCRIPT_FILE: Final = "ceremony.json"
CIRCUIT_FILE: Final = "settlement.r1cs"
KEY_FILE: Final = "verification_key.json"
MAX_TRANSCRIPT_BYTES: Final = 1024 * 1024
MAX_STEPS: Final = 1000

Phase: TypeAlias = Literal[1, 2]
Kind: TypeAlias = Literal["new", "contribution", "beacon", "prepare", "setup"]

# What may follow what. Phase 1 is the powers of tau, phase 2 is the circuit's own key.
_FOLLOWS: Final[dict[tuple[int, str] | None, tuple[tuple[int, str], ...]]] = {
    None: ((1, "new"),),
    (1, "new"): ((1, "contribution"), (1, "beacon")),
    (1, "contribution"): ((1, "contribution"), (1, "beacon")),
    (1, "beacon"): ((1, "prepare"),),
    (1, "prepare"): ((2, "setup"),),
    (2, "setup"): ((2, "contribution"), (2, "beacon")),
    (2, "contribution"): ((2, "contribution"), (2, "beacon")),
    (2, "beacon"): (),
}

_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}$")]
BeaconValue = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2}){16,64}$")]
Iterations = Annotated[int, msgspec.Meta(ge=10, le=40)]


class CeremonyError(Exception):
    """The transcript is not what it must be, or the step is not possible now."""


class Step(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One step and the file that it made. A beacon's value and iterations are its whole secret."""

    phase: Phase
    kind: Kind
    file: Annotated[str, msgspec.Meta(pattern=r"^phase[12]-[0-9]{4}\.(ptau|zkey)$")]
    sha256: _Hash
    name: Name | None = None
    beacon: BeaconValue | None = None
    iterations: Iterations | None = None


class Transcript(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The record; `power` is the two-logarithm of the domain."""

    format: Literal["aitbc-ceremony/1"]
    snarkjs: str
    circuit_hash: _Hash
    power: Annotated[int, msgspec.Meta(ge=4, le=20)]
    steps: Annotated[tuple[Step, ...], msgspec.Meta(max_length=MAX_STEPS)] = ()

    @property
    def phase(self) -> Phase:
        return self.steps[-1].phase if self.steps else 1

    @property
    def is_finished(self) -> bool:
        return bool(self.steps) and (self.steps[-1].phase, self.steps[-1].kind) == (2, "beacon")

    def contributors(self, phase: Phase) -> list[str]:
        """Names, in the order of their contributions."""
        return [
            step.name or ""
            for step in self.steps
            if step.phase == phase and step.kind == "contribution"
        ]


def check_order(steps: Sequence[Step]) -> None:
    """Raises CeremonyError for steps that could not have followed each other."""
    last: tuple[int, str] | None = None
    for number, step in enumerate(steps):
        this = (step.phase, step.kind)
        if this not in _FOLLOWS[last]:
            raise CeremonyError(f"step {number}, {step.kind} of phase {step.phase}, is not due")
        given = {step.beacon is not None, step.iterations is not None}
        if given != {step.kind == "beacon"}:
            raise CeremonyError(f"step {number}: a beacon has value and iterations, no other step")
        if (step.kind in ("contribution", "beacon")) != (step.name is not None):
            raise CeremonyError(f"step {number}: contributions and beacons have a name, no others")
        if step.file != compute_file_name(number, step.phase, step.kind):
            raise CeremonyError(f"step {number} has a file of another name")
        last = this


def compute_file_name(number: int, phase: int, kind: str) -> str:
    return f"phase{phase}-{number:04d}.{'ptau' if phase == 1 else 'zkey'}"


def read_transcript(folder: Path) -> Transcript:
    """The record of a folder, with the hash of every file checked.

    Raises:
        CeremonyError: a malformed record, an illegal order, a missing or changed file.
    """
    path = folder.joinpath(TRANSCRIPT_FILE)
    try:
        if path.stat().st_size > MAX_TRANSCRIPT_BYTES:
            raise CeremonyError("the transcript is too long")
        transcript = msgspec.json.decode(path.read_bytes(), type=Transcript)
    except FileNotFoundError as error:
        raise CeremonyError(f"{folder} holds no {TRANSCRIPT_FILE}") from error
    except ValueError as error:
        raise CeremonyError(f"not a transcript: {error}") from error
    check_order(transcript.steps)
    files = {CIRCUIT_FILE: transcript.circuit_hash}
    files.update({step.file: step.sha256 for step in transcript.steps})
    for name, expected in files.items():
        try:
            found = compute_file_hash(folder.joinpath(name))
        except FileNotFoundError as error:
            raise CeremonyError(f"{name} is missing") from error
        if found != expected:
            raise CeremonyError(f"{name} is not the file that the transcript names")
    return transcript


def write_transcript(folder: Path, transcript: Transcript) -> None:
    """Replace the record in one go."""
    check_order(transcript.steps)
    data = msgspec.json.format(msgspec.json.encode(transcript), indent=2)
    partial = folder.joinpath(TRANSCRIPT_FILE + ".partial")
    partial.write_bytes(data + b"\n")
    partial.replace(folder.joinpath(TRANSCRIPT_FILE))


def compute_file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
