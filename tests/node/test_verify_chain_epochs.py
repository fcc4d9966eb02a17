"""`verify-chain` follows the authority sets: each block is certified by that of its own epoch."""

import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from consensus.messages import Certificate, FinalityProof
from ledger import codec, crypto
from ledger.ballots import Ballot, VoteKind, compute_vote_bytes
from ledger.blocks import compute_header_hash, decode_block
from node import folder
from node.settings import load_settings
from node.sqlcipher import get_raw
from node.verify_chain import ChainDamaged, Report, verify_chain
from tests.node.signed_chain import MEMBERS, OpenStore, SignedChain, make_node

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedChain, Path]:
    """A chain of three epochs, of four, five and four authorities, and a node that holds it."""
    chain = SignedChain(idle=20)
    for is_add in (True, False):
        chain.transfer(2)
        chain.change_authorities(is_add=is_add)
    chain.transfer(2)
    return chain, await make_node(tmp_path_factory.mktemp("epochs") / "node", chain)


@pytest.fixture
def data(made: tuple[SignedChain, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[1], tmp_path / "own")


def verify(data: Path) -> Report:
    with OpenStore(data) as store:
        return verify_chain(store, folder.open_genesis(data))


def change(data: Path, statement: str, *values: object) -> None:
    database = folder.open_database(load_settings(data=data), folder.open_genesis(data))
    database.write_now(lambda connection: get_raw(connection).execute(statement, values))
    database.close_now()


async def test_a_chain_of_several_epochs_is_verified(
    made: tuple[SignedChain, Path], data: Path
) -> None:
    report = verify(data)
    assert made[0].head.epoch == 2
    assert (report.height, report.state_root) == (made[0].head.height, made[0].head.state_root)


@pytest.mark.parametrize("epoch", [0, 1, 2])
async def test_an_epochs_last_block_is_certified_by_its_own_set(
    made: tuple[SignedChain, Path], data: Path, epoch: int
) -> None:
    """Four signers that are in all three sets say so; that they are a quorum of four is no help."""
    headers = [decode_block(raw).header for raw in made[0].world.raw_blocks]
    closing = max((each for each in headers if each.epoch == 1), key=lambda each: each.height)
    ballot = Ballot(VoteKind.FINALIZE, epoch, closing.view, compute_header_hash(closing))
    message = compute_vote_bytes(closing.chain_id, ballot)
    signatures = tuple(crypto.sign(member.seed, message) for member in MEMBERS)
    for count, does_hold in ((4, epoch == 1), (3, False)):
        proof = FinalityProof((), Certificate(ballot, tuple(range(count)), signatures[:count]))
        change(
            data, "update blocks set certificate = ? where height = ?",
            codec.encode(proof), closing.height,
        )  # fmt: skip
        change(data, "update successions set certificate = ? where epoch = 2", codec.encode(proof))
        if does_hold:
            assert verify(data).height == made[0].head.height
            continue
        with pytest.raises(ChainDamaged, match=f"block {closing.height}: BAD_CERTIFICATE"):
            verify(data)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from successions where epoch = 1",
        "update successions set certificate = (select certificate from successions where epoch = 2)"
        " where epoch = 1",
        "update successions set following = (select following from successions where epoch = 2)"
        " where epoch = 1",
    ],
)
async def test_what_is_kept_of_the_sets_is_what_the_blocks_say(data: Path, statement: str) -> None:
    change(data, statement)
    with pytest.raises(ChainDamaged, match="authority sets"):
        verify(data)
