"""A whole ceremony for a small circuit, by the real snarkjs, and what a checker refuses."""

import shutil
from pathlib import Path

import pytest

from tests.zk.ceremony.conftest import CACHE
from zk.ceremony.snarkjs import Snarkjs, SnarkjsError, install_snarkjs
from zk.ceremony.steps import apply_beacon, contribute, new_ceremony, verify
from zk.ceremony.transcript import (
    KEY_FILE,
    CeremonyError,
    compute_file_hash,
    read_transcript,
    write_transcript,
)
from zk.constraints import Recorder
from zk.devkey import DEV_VERIFYING_KEY_FILE
from zk.r1cs import encode_r1cs
from zk.statement import PUBLIC_INPUTS
from zk.verifying_key import VerifyingKey

KEYS = Path(__file__).parents[3] / "zk" / "keys"
POWER = 5
BEACON = "5a" * 32


def build_small_circuit() -> bytes:
    """Nine public inputs, each squared."""
    recorder = Recorder()
    wires = [recorder.new_wire() for _ in range(PUBLIC_INPUTS)]
    for wire in wires:
        recorder.multiply(wire, wire, "square")
    return encode_r1cs(recorder.constraints, recorder.wire_count, PUBLIC_INPUTS, 0)


CIRCUIT = build_small_circuit()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished ceremony, and its circuit's hash."""
    snarkjs = install_snarkjs(CACHE)
    folder = tmp_path_factory.mktemp("ceremony") / "shared"
    transcript = new_ceremony(folder, CIRCUIT, snarkjs, POWER)
    with pytest.raises(CeremonyError, match="no contribution"):
        apply_beacon(folder, BEACON, snarkjs)
    contribute(folder, "alice", snarkjs, "some words")
    contribute(folder, "bob", snarkjs)
    apply_beacon(folder, BEACON, snarkjs, "a block hash")
    contribute(folder, "carol", snarkjs)
    apply_beacon(folder, BEACON, snarkjs)
    return folder, transcript.circuit_hash


def test_a_finished_ceremony_is_valid(finished: tuple[Path, str], snarkjs: Snarkjs) -> None:
    folder, circuit_hash = finished
    report = verify(folder, circuit_hash, snarkjs)
    assert report.contributors == (["alice", "bob"], ["carol"])
    key = VerifyingKey.from_snarkjs((folder / KEY_FILE).read_bytes())
    assert report.key_id == key.key_id
    with pytest.raises(CeremonyError, match="finished"):
        contribute(folder, "dave", snarkjs)
    with pytest.raises(CeremonyError, match="another circuit"):
        verify(folder, "00" * 32, snarkjs)
    with pytest.raises(CeremonyError, match="not empty"):
        new_ceremony(folder, CIRCUIT, snarkjs)


def test_another_verifying_key_is_found(
    finished: tuple[Path, str], snarkjs: Snarkjs, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    shutil.copy(KEYS / DEV_VERIFYING_KEY_FILE, folder / KEY_FILE)
    with pytest.raises(CeremonyError, match="not the key"):
        verify(folder, finished[1], snarkjs)


@pytest.mark.parametrize(("written", "instead"), [('"carol"', '"mallory"'), (BEACON, "5b" * 32)])
def test_a_rewritten_record_is_found(
    finished: tuple[Path, str], snarkjs: Snarkjs, tmp_path: Path, written: str, instead: str
) -> None:
    """A coordinator who claims a contribution or a beacon that is not in the file."""
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    text = (folder / "ceremony.json").read_text()
    (folder / "ceremony.json").write_text(text.replace(written, instead))
    with pytest.raises(CeremonyError, match="differ"):
        verify(folder, finished[1], snarkjs)


def test_a_damaged_contribution_is_found(
    finished: tuple[Path, str], snarkjs: Snarkjs, tmp_path: Path
) -> None:
    """Changed inside, with the record's hash made to fit: the mathematics shows it."""
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    transcript = read_transcript(folder)
    file = folder / transcript.steps[-1].file
    data = bytearray(file.read_bytes())
    setup = (folder / transcript.steps[-3].file).read_bytes()
    # The points of the first setup, before anybody's secret went in, under the final header.
    data[2000 : 2000 + 400] = setup[2000 : 2000 + 400]
    assert bytes(data) != file.read_bytes()
    file.write_bytes(data)
    text = (folder / "ceremony.json").read_text()
    changed = text.replace(transcript.steps[-1].sha256, compute_file_hash(file))
    (folder / "ceremony.json").write_text(changed)
    with pytest.raises(SnarkjsError):
        verify(folder, finished[1], snarkjs)


@pytest.mark.parametrize("name", ["", "a\nb", "-x", "x" * 80])
def test_names_are_plain(finished: tuple[Path, str], snarkjs: Snarkjs, name: str) -> None:
    with pytest.raises(CeremonyError, match="name"):
        contribute(finished[0], name, snarkjs)


@pytest.mark.parametrize("value", ["", "5a", "5A" * 32, "zz" * 32])
def test_beacons_are_hexadecimal(finished: tuple[Path, str], snarkjs: Snarkjs, value: str) -> None:
    with pytest.raises(CeremonyError, match="beacon value"):
        apply_beacon(finished[0], value, snarkjs)


def test_a_record_is_written_back_as_read(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    before = (folder / "ceremony.json").read_bytes()
    write_transcript(folder, read_transcript(folder))
    assert (folder / "ceremony.json").read_bytes() == before
