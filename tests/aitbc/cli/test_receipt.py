import base64
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.demo.checks import CheckFailed, verify_offline
from aitbc.cli.main import app
from aitbc.sealed_opening import seal
from aitbc.wallet import Wallet
from genesis.checkpoint import Checkpoint, dump_checkpoint, start_from_genesis
from ledger.keystore import LOW_COST, seal_seed
from ledger.terms import compute_content_hash, compute_model_hash
from tests.aitbc.cli.settled_receipt import (
    PRICE,
    UNITS,
    SettledReceipt,
    make_settled_receipt,
)
from tests.support.scripted_server import Prepared, serve

Bundle = dict[str, Any]
AUDITOR = Wallet(bytes([7]) * 32)
AUDITOR_KEY = bytes(AUDITOR.derive_encryption_key().public_key)


@pytest.fixture(scope="module")
def settled() -> SettledReceipt:
    return make_settled_receipt()


@pytest.fixture
def genesis(settled: SettledReceipt, tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_bytes(settled.genesis)
    return path


@pytest.fixture(scope="module")
def later() -> SettledReceipt:
    """Settled in epoch 2, and proved settled in epoch 3."""
    return make_settled_receipt(2, 1)


def make_checkpoint(settled: SettledReceipt, epoch: int) -> Checkpoint:
    sets = [each.following for each in settled.chain.successions]
    start = start_from_genesis(settled.chain.genesis)
    return start._replace(authorities=sets[epoch - 1]) if epoch else start


def write(bundle: object, folder: Path) -> Path:
    path = folder / "receipt.json"
    path.write_text(json.dumps(bundle))
    return path


def verify(bundle: Path, genesis: Path, *more: str) -> Result:
    return CliRunner().invoke(
        app, ["receipt", "verify", str(bundle), "--genesis", str(genesis), *more]
    )


def test_a_good_receipt_verifies(settled: SettledReceipt, genesis: Path, tmp_path: Path) -> None:
    result = verify(write(settled.bundle, tmp_path), genesis, "--json")
    assert result.exit_code == 0, result.stderr
    proven = json.loads(result.stdout)
    assert proven["valid"] is True
    assert proven["units"] == UNITS
    assert proven["amount_base"] == str(UNITS * PRICE)
    shares = ("payout_base", "coordinator_share_base", "network_share_base")
    assert sum(int(proven[share]) for share in shares) == UNITS * PRICE
    assert proven["authorities_signed"] == 1
    assert "valid:" in result.stderr


def test_it_verifies_in_a_process_without_network(
    settled: SettledReceipt, genesis: Path, tmp_path: Path
) -> None:
    bundle = write(settled.bundle, tmp_path)
    assert verify_offline(bundle, genesis)["job_id"] == settled.bundle["receipt"]["job_id"]
    broken = write({**settled.bundle, "opening": {}}, tmp_path)
    with pytest.raises(CheckFailed):
        verify_offline(broken, genesis)


def flip(bundle: Bundle, part: str, position: float) -> None:
    """Flip a bit of a part that is kept as base64url, at a place from 0 to 1 of it."""
    text = bundle[part]
    data = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    data[int(position * (len(data) - 1))] ^= 1
    bundle[part] = base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raise_units(bundle: Bundle) -> None:
    bundle["receipt"]["units"] += 1


def take_credit(bundle: Bundle) -> None:
    bundle["receipt"]["miner_id"] = "miner_thief"


def change_opening(bundle: Bundle) -> None:
    bundle["opening"]["units"] += 1


def change_result(bundle: Bundle) -> None:
    bundle["opening"]["result_hash"] = "00" * 32


def swap_signature(bundle: Bundle) -> None:
    bundle["receipt"]["signature"]["sig"] = "A" * 86


def drop_state(bundle: Bundle) -> None:
    bundle["state"] = ""


def swap_parts(bundle: Bundle) -> None:
    bundle["state"], bundle["settlement"] = bundle["settlement"], bundle["state"]


def add_a_member(bundle: Bundle) -> None:
    bundle["note"] = "trust me"


@pytest.mark.parametrize(
    "tamper",
    [
        raise_units,
        take_credit,
        change_opening,
        change_result,
        swap_signature,
        drop_state,
        swap_parts,
        add_a_member,
    ],
)
def test_a_tampered_receipt_is_refused(
    settled: SettledReceipt, genesis: Path, tmp_path: Path, tamper: Callable[[Bundle], None]
) -> None:
    bundle = deepcopy(settled.bundle)
    tamper(bundle)
    result = verify(write(bundle, tmp_path), genesis, "--json")
    assert result.exit_code == 33
    assert json.loads(result.stdout)["valid"] is False
    assert "NOT valid" in result.stderr


@pytest.mark.parametrize("part", ["settlement", "state"])
@pytest.mark.parametrize("position", [step / 12 for step in range(13)])
def test_a_flipped_bit_is_refused(
    settled: SettledReceipt, genesis: Path, tmp_path: Path, part: str, position: float
) -> None:
    bundle = deepcopy(settled.bundle)
    flip(bundle, part, position)
    assert verify(write(bundle, tmp_path), genesis).exit_code == 33


def test_another_chain_does_not_know_the_receipt(
    settled: SettledReceipt, genesis: Path, tmp_path: Path
) -> None:
    genesis.write_text(genesis.read_text().replace("receipt-test", "other-chain"))
    assert verify(write(settled.bundle, tmp_path), genesis).exit_code == 33


@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_a_receipt_of_a_later_epoch_verifies_from_genesis_or_a_checkpoint_before_it(
    later: SettledReceipt, tmp_path: Path, epoch: int
) -> None:
    bundle = write(later.bundle, tmp_path)
    checkpoint = tmp_path / "checkpoint.json"
    checkpoint.write_bytes(dump_checkpoint(make_checkpoint(later, epoch)))
    command = ["receipt", "verify", str(bundle), "--checkpoint", str(checkpoint), "--json"]
    result = CliRunner(env={"AITBC_GENESIS": None}).invoke(app, command)
    if epoch == 3:
        assert result.exit_code == 33
        assert "of a later one" in json.loads(result.stdout)["detail"]
        return
    assert result.exit_code == 0, result.stderr
    proven = json.loads(result.stdout)
    assert (proven["epoch"], proven["trusted_epoch"]) == (2, epoch)
    assert (proven["authorities_signed"], proven["authorities"]) == (3, 3)
    from_genesis = tmp_path / "genesis.json"
    from_genesis.write_bytes(later.genesis)
    shown = json.loads(verify(bundle, from_genesis, "--json").stdout)
    assert shown == {**proven, "trusted_epoch": 0}


def test_a_checkpoint_of_another_chain_is_no_help(
    settled: SettledReceipt, later: SettledReceipt, genesis: Path, tmp_path: Path
) -> None:
    bundle, checkpoint = write(later.bundle, tmp_path), tmp_path / "checkpoint.json"
    other = make_checkpoint(later, 1)._replace(chain_id=bytes(32))
    checkpoint.write_bytes(dump_checkpoint(other))
    alone = CliRunner(env={"AITBC_GENESIS": None}).invoke(
        app, ["receipt", "verify", str(bundle), "--checkpoint", str(checkpoint)]
    )
    assert alone.exit_code == 33
    both = verify(bundle, genesis, "--checkpoint", str(checkpoint))
    assert both.exit_code == 17 and "is of the chain" in both.stderr


def test_something_must_be_trusted(settled: SettledReceipt, tmp_path: Path) -> None:
    bundle = write(settled.bundle, tmp_path)
    runner = CliRunner(env={"AITBC_GENESIS": None, "AITBC_CHECKPOINT": None})
    result = runner.invoke(app, ["receipt", "verify", str(bundle)])
    assert (result.exit_code, result.stdout) == (2, "")
    for content, code in ((None, 3), ("{}", 3)):
        path = tmp_path / "checkpoint.json"
        if content is not None:
            path.write_text(content)
        command = ["receipt", "verify", str(bundle), "--checkpoint", str(path)]
        assert runner.invoke(app, command).exit_code == code


@pytest.mark.parametrize("content", ["", "{}", "[1]", '"text"', "[" * 10_000])
def test_what_is_no_bundle_is_refused(genesis: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(content)
    assert verify(path, genesis).exit_code == 33


def test_a_missing_file_is_not_an_invalid_receipt(genesis: Path, tmp_path: Path) -> None:
    assert verify(tmp_path / "absent.json", genesis).exit_code == 1
    assert verify(genesis, tmp_path / "absent.json").exit_code == 3


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "auditor.key"
    path.write_bytes(seal_seed(AUDITOR.seed, b"secret", LOW_COST))
    path.chmod(0o600)
    return path


def audit(sealed: Path, genesis: Path, key_file: Path, *more: str) -> Result:
    environment = {"AITBC_KEYSTORE_PASSWORD": "secret", "AITBC_KEYSTORE_PASSWORD_FILE": None}
    command = ["receipt", "audit", str(sealed), "--genesis", str(genesis)]
    return CliRunner(env=environment).invoke(app, [*command, "--key-file", str(key_file), *more])


def test_an_opened_receipt_shows_the_auditor_what_the_chain_hides(
    settled: SettledReceipt, genesis: Path, key_file: Path, tmp_path: Path
) -> None:
    sealed = tmp_path / "sealed.json"
    command = ["receipt", "open", "job_1", "--to", AUDITOR_KEY.hex(), "-o", str(sealed)]
    with serve(Prepared(200, settled.opening), Prepared(200, settled.bundle)) as server:
        environment = {"AITBC_API_URL": server.url, "AITBC_API_KEY": "aitbc_k"}
        opened = CliRunner(env=environment).invoke(app, command)
    assert (opened.exit_code, opened.stdout) == (0, ""), opened.stderr
    assert [asked.path for asked in server.asked] == [
        "/v1/receipts/job_1/opening",
        "/v1/receipts/job_1?bundle=1",
    ]
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert settled.opening["price"]["salt"] not in sealed.read_text()
    result = audit(sealed, genesis, key_file, "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert (shown["units"], shown["price_base"]) == (UNITS, str(PRICE))
    assert shown["started_ms"] + 500 == shown["completed_ms"]
    assert shown["model_hash"] == compute_model_hash("test-model@00").hex()
    assert shown["input_hash"] == compute_content_hash({"prompt": "hello"}).hex()
    assert shown["result_hash"] == compute_content_hash({"text": "hi"}).hex()
    assert "valid:" in result.stderr


@pytest.mark.parametrize("part", ["opening", "bundle"])
def test_an_opening_that_does_not_hold_is_refused(
    settled: SettledReceipt, genesis: Path, key_file: Path, tmp_path: Path, part: str
) -> None:
    opening, bundle = deepcopy(settled.opening), deepcopy(settled.bundle)
    if part == "opening":
        opening["offer"]["max_units"] += 1
    else:
        bundle["receipt"]["units"] += 1
    sealed = tmp_path / "sealed.json"
    sealed.write_bytes(seal(opening, bundle, AUDITOR_KEY))
    result = audit(sealed, genesis, key_file, "--json")
    assert result.exit_code == 33
    assert json.loads(result.stdout)["valid"] is False
    assert "the opening is NOT valid" in result.stderr


@pytest.mark.parametrize("content", ["", "{}"])
def test_what_is_no_sealed_opening_is_refused(
    genesis: Path, key_file: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "sealed.json"
    path.write_text(content)
    assert audit(path, genesis, key_file).exit_code == 33


def test_another_auditors_file_is_no_invalid_one(
    settled: SettledReceipt, genesis: Path, key_file: Path, tmp_path: Path
) -> None:
    other = bytes(Wallet(bytes([8]) * 32).derive_encryption_key().public_key)
    sealed = tmp_path / "sealed.json"
    sealed.write_bytes(seal(settled.opening, settled.bundle, other))
    result = audit(sealed, genesis, key_file)
    assert (result.exit_code, result.stdout) == (3, "")
    assert other.hex() in result.stderr


@pytest.mark.parametrize("key", ["", "00" * 32, "alice"])
def test_nothing_is_opened_to_what_is_no_key(tmp_path: Path, key: str) -> None:
    output = tmp_path / "sealed.json"
    command = ["receipt", "open", "job_1", "--to", key, "-o", str(output)]
    with serve(Prepared(500, {})) as server:
        environment = {"AITBC_API_URL": server.url, "AITBC_API_KEY": "aitbc_k"}
        assert CliRunner(env=environment).invoke(app, command).exit_code == 2
    assert (server.asked, output.exists()) == ([], False)
