"""No frame of a peer ends, blocks or bloats a node; `make fuzz` sends many more."""

from pathlib import Path

import pytest

from consensus.messages import decode_message
from coordinator import relay_messages
from ledger.rejection import Rejected
from node.peer_messages import decode_fetched_block, decode_news, decode_question, decode_range
from p2p.frames import decode_control
from p2p.hello import HelloRefused, decode_greeting
from tests.e2e.devnets import running_devnet
from tests.fuzz.frames import ANSWERS, MESSAGES, NEWS, QUESTIONS, Spoiler
from tests.fuzz.in_process import fuzz_cluster
from tests.fuzz.on_the_wire import LiveNode, fuzz_wire
from tests.p2p.networks import find_port

DECODERS = (
    decode_message,
    decode_news,
    decode_question,
    decode_range,
    decode_fetched_block,
    relay_messages.decode_question,
    relay_messages.decode_answer,
    decode_greeting,
    decode_control,
)


def test_every_decoder_answers_or_refuses() -> None:
    spoiler = Spoiler(1)
    samples = (*MESSAGES, *NEWS, *QUESTIONS, *ANSWERS)
    taken = refused = 0
    for _ in range(20_000):
        data = spoiler.spoil(samples)
        for decode in DECODERS:
            try:
                decode(data)
                taken += 1
            except (Rejected, HelloRefused):
                refused += 1
    assert taken > 300 and refused > 100_000


@pytest.mark.slow
async def test_a_cluster_goes_on_under_spoilt_frames(tmp_path: Path) -> None:
    report = await fuzz_cluster(tmp_path, 10_000, 2)
    # Most frames are found out only behind the first check, and each of those costs a session.
    assert report.sessions > 1_000
    assert report.grown < 64


@pytest.mark.slow
async def test_a_live_node_goes_on_under_spoilt_frames(tmp_path: Path) -> None:
    with running_devnet(tmp_path / "net", find_port(), "--miners", "0") as devnet:
        (node,) = devnet.state["nodes"]
        chain_id = bytes.fromhex(devnet.state["chain_id"])
        live = LiveNode(node["api"], node["p2p"], node["pid"], chain_id)
        report = await fuzz_wire(live, 60, 3)
        assert report.frames == 60 and report.sessions > 5
        assert report.grown < 64
