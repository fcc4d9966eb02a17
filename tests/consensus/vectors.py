"""The frozen bytes of consensus: `python -m tests.consensus.vectors` writes them anew.

To write them anew is to approve an incompatible protocol.
"""

import json
from pathlib import Path

from consensus.evidence import make_proposal_evidence
from consensus.journal import JOURNAL_VERSION, JournalHead, SignedVote, encode_frame
from consensus.light_client import Succession
from consensus.messages import CertificateRequest, CommittedBlock, FinalityProof, encode_message
from ledger import codec
from ledger.ballots import VoteKind, compute_proposal_bytes, compute_vote_bytes
from ledger.blocks import compute_authorities_hash, compute_header_hash
from tests.consensus.network import (
    CHAIN_ID,
    get_key,
    make_ballot,
    make_block,
    make_child,
    make_committee,
    make_proposal,
    make_quorum,
    make_vote,
)

PATH = Path(__file__).parent.parent / "vectors" / "consensus.json"


def compute_vectors() -> dict[str, str]:
    """Return every vector by name, in hex."""
    committee = make_committee(4, epoch=2)
    block = make_block(committee, view=3)
    child = make_child(committee, block, 5)
    block_hash = compute_header_hash(block.header)
    child_hash = compute_header_hash(child.header)
    vectors: dict[str, bytes] = {"chain_id": CHAIN_ID, "block_hash": block_hash}
    for kind in VoteKind:
        named = {} if kind is VoteKind.NULLIFY else {"block_hash": block_hash}
        ballot = make_ballot(kind, 3, epoch=2, **named)
        name = kind.name.lower()
        vectors[f"{name}_signing_bytes"] = compute_vote_bytes(CHAIN_ID, ballot)
        vectors[f"{name}_vote"] = encode_message(make_vote(ballot, 1))
        vectors[f"{name}_certificate_of_1"] = encode_message(make_quorum(ballot, 1))
        vectors[f"{name}_certificate_of_4"] = encode_message(make_quorum(ballot, 4))
    vectors["proposal_signing_bytes"] = compute_proposal_bytes(CHAIN_ID, 2, 3, block_hash)
    vectors["proposal"] = encode_message(make_proposal(block, 3))
    vectors["certificate_request"] = encode_message(CertificateRequest(2, 5, 9))
    finalize = make_quorum(make_ballot(VoteKind.FINALIZE, 5, child_hash, 2), 4)
    committed = CommittedBlock(block, FinalityProof((child.header,), finalize))
    vectors["committed_block_by_descendant"] = codec.encode(committed)
    following = make_committee(5, epoch=3).authorities
    closing = make_block(
        committee, view=3, next_authorities=compute_authorities_hash(following)
    ).header
    closed = make_quorum(make_ballot(VoteKind.FINALIZE, 4, compute_header_hash(closing), 2), 4)
    succession = Succession(closing, FinalityProof((), closed), following)
    vectors["succession"] = codec.encode(succession)
    other = make_block(committee, view=3, time=1_001)
    evidence = make_proposal_evidence(make_proposal(block, 3), make_proposal(other, 3))
    vectors["proposal_evidence"] = codec.encode(evidence)
    head = JournalHead(JOURNAL_VERSION, CHAIN_ID, get_key(1), 0, 2, 0, False)
    vote = make_vote(make_ballot(VoteKind.NOTARIZE, 3, block_hash, 2), 1)
    vectors["journal"] = encode_frame((head,)) + encode_frame((SignedVote(1, vote),))
    return {name: value.hex() for name, value in vectors.items()}


def main() -> None:
    """Write the file."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(compute_vectors(), indent=1) + "\n")


if __name__ == "__main__":
    main()
