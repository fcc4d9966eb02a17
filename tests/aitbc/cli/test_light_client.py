"""A checkpoint taken from a node that is not trusted."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aitbc.cli.main import app
from consensus.light_client import Succession
from genesis.checkpoint import load_checkpoint
from genesis.document import dump_genesis
from ledger import codec
from tests.aitbc.cli.settled_receipt import ReceiptChain
from tests.support.scripted_server import Asked, Prepared, serve


@pytest.fixture(scope="module")
def chain() -> ReceiptChain:
    made = ReceiptChain()
    for _ in range(3):
        made.open_epoch()
    return made


@pytest.fixture
def genesis(chain: ReceiptChain, tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_bytes(dump_genesis(chain.genesis))
    return path


def show(*successions: Succession) -> Prepared:
    return Prepared(
        200,
        {
            "successions": [
                {
                    "epoch": each.following.epoch,
                    "height": each.header.height,
                    "succession": codec.encode(each).hex(),
                }
                for each in successions
            ]
        },
    )


def run(
    folder: Path, chain_id: str, *answers: Prepared, options: tuple[str, ...]
) -> tuple[Result, list[Asked]]:
    status = {
        "chain_id": chain_id,
        "height": 9,
        "minimum_fee_rate": 10,
        "maximum_validity": 9,
        "proof_key_id": "00" * 32,
    }
    with serve(Prepared(200, status), *answers) as server:
        environment = {"AITBC_API_URL": server.url, "AITBC_GENESIS": None}
        output = str(folder / "checkpoint.json")
        command = ["explorer", "checkpoint", "-o", output, *options, "--json"]
        return CliRunner(env=environment).invoke(app, command), server.asked


def test_the_newest_set_is_followed_from_genesis_page_by_page(
    chain: ReceiptChain, genesis: Path, tmp_path: Path
) -> None:
    first, second, third = chain.successions
    result, asked = run(
        tmp_path, chain.chain_id.hex(), show(first, second), show(third), show(),
        options=("--genesis", str(genesis)),
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert (shown["epoch"], shown["authorities"], shown["trusted_epoch"]) == (3, 4, 0)
    assert [each.path for each in asked][1:] == [
        f"/v1/chain/successions?epoch={epoch}" for epoch in (0, 2, 3)
    ]
    checkpoint = load_checkpoint((tmp_path / "checkpoint.json").read_bytes())
    assert checkpoint.authorities == third.following
    assert checkpoint.chain_id == chain.chain_id
    result, asked = run(
        tmp_path, chain.chain_id.hex(), show(),
        options=("--checkpoint", str(tmp_path / "checkpoint.json")),
    )  # fmt: skip
    assert json.loads(result.stdout)["trusted_epoch"] == 3
    assert asked[-1].path == "/v1/chain/successions?epoch=3"


def test_a_node_cannot_name_another_set(chain: ReceiptChain, genesis: Path, tmp_path: Path) -> None:
    first, second, _ = chain.successions
    options = ("--genesis", str(genesis))
    for false in (
        show(second),
        show(first, first),
        show(Succession(first.header, first.finality, second.following)),
        show(Succession(first.header, second.finality, first.following)),
        Prepared(200, {"successions": [{"succession": "00"}]}),
    ):
        result, _ = run(tmp_path, chain.chain_id.hex(), false, options=options)
        assert (result.exit_code, result.stdout) == (33, ""), result.stderr
    assert not (tmp_path / "checkpoint.json").exists()


@pytest.mark.parametrize(
    "answer", [{}, [], {"successions": [{}]}, {"successions": [{"succession": "x"}]}]
)
def test_what_is_no_answer_is_said(
    chain: ReceiptChain, genesis: Path, tmp_path: Path, answer: Any
) -> None:
    options = ("--genesis", str(genesis))
    result, _ = run(tmp_path, chain.chain_id.hex(), Prepared(200, answer), options=options)
    assert result.exit_code != 0 and "no successions" in result.stderr
    assert not (tmp_path / "checkpoint.json").exists()


def test_a_node_of_another_chain_is_not_asked(genesis: Path, tmp_path: Path) -> None:
    result, asked = run(tmp_path, "00" * 32, show(), options=("--genesis", str(genesis)))
    assert (result.exit_code, len(asked)) == (17, 1)
