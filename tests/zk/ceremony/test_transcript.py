"""Records out of order, malformed, or beside other files than they name."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from zk.ceremony.transcript import (
    CIRCUIT_FILE,
    MAX_TRANSCRIPT_BYTES,
    TRANSCRIPT_FILE,
    CeremonyError,
    Phase,
    Step,
    check_order,
    compute_file_name,
    read_transcript,
)

HASH = hashlib.sha256(b"").hexdigest()
Steps = list[tuple[Phase, Any]]
WHOLE: Steps = [
    (1, "new"),
    (1, "contribution"),
    (1, "beacon"),
    (1, "prepare"),
    (2, "setup"),
    (2, "contribution"),
    (2, "beacon"),
]


def make_steps(kinds: Steps) -> list[Step]:
    return [
        Step(
            phase=phase,
            kind=kind,
            file=compute_file_name(number, phase, kind),
            sha256=HASH,
            name="somebody" if kind in ("contribution", "beacon") else None,
            beacon="5a" * 16 if kind == "beacon" else None,
            iterations=10 if kind == "beacon" else None,
        )
        for number, (phase, kind) in enumerate(kinds)
    ]


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_every_beginning_is_legal(length: int) -> None:
    check_order(make_steps(WHOLE[:length]))


@pytest.mark.parametrize(
    "kinds",
    [
        WHOLE[1:],
        [*WHOLE, WHOLE[-1]],
        [WHOLE[0], WHOLE[4]],
        [*WHOLE[:3], WHOLE[1]],
        [*WHOLE[:4], *WHOLE[5:]],
        [*WHOLE[:5], WHOLE[1]],
    ],
)
def test_other_orders_are_not(kinds: Steps) -> None:
    with pytest.raises(CeremonyError, match="not due"):
        check_order(make_steps(kinds))


def write_folder(folder: Path, **changes: Any) -> None:
    (folder / CIRCUIT_FILE).write_bytes(b"")
    (folder / "phase1-0000.ptau").write_bytes(b"")
    step = {"phase": 1, "kind": "new", "file": "phase1-0000.ptau", "sha256": HASH}
    document = {
        "format": "aitbc-ceremony/1",
        "snarkjs": "0.7.6",
        "circuit_hash": HASH,
        "power": 11,
        "steps": [{**step, **changes.pop("step", {})}],
        **changes,
    }
    (folder / TRANSCRIPT_FILE).write_text(json.dumps(document))


def test_a_small_folder_is_read(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert read_transcript(tmp_path).phase == 1
    assert not read_transcript(tmp_path).is_finished


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"power": 64},
        {"circuit_hash": "00" * 32},
        {"extra": 1},
        {"step": {"file": "../outside.ptau"}},
        {"step": {"file": "phase1-0001.ptau"}},
        {"step": {"file": "phase2-0000.zkey"}},
        {"step": {"sha256": "00" * 32}},
        {"step": {"sha256": "0"}},
        {"step": {"name": "somebody"}},
        {"step": {"kind": "contribution"}},
        {"step": {"phase": 3}},
        {"step": {"beacon": "5a" * 16}},
        {"step": {"iterations": 10}},
    ],
)
def test_a_record_that_lies_or_is_malformed_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    write_folder(tmp_path, **changes)
    with pytest.raises(CeremonyError):
        read_transcript(tmp_path)


def test_a_missing_or_huge_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CeremonyError, match="holds no"):
        read_transcript(tmp_path)
    (tmp_path / TRANSCRIPT_FILE).write_bytes(b" " * (MAX_TRANSCRIPT_BYTES + 1))
    with pytest.raises(CeremonyError, match="too long"):
        read_transcript(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "phase1-0000.ptau").unlink()
    with pytest.raises(CeremonyError, match=r"phase1-0000\.ptau is missing"):
        read_transcript(tmp_path)
