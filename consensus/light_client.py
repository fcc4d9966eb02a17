"""Following a chain's authority sets without its blocks: one final header an epoch (rule C19).

Whoever trusts one set, that of genesis or of a checkpoint, knows every later one by this, with no
network: each set's quorum signed the header that names the next.
"""

from collections.abc import Iterable
from typing import Final

from consensus.messages import MAX_FINALITY_BYTES, FinalityProof
from consensus.verification import Committee, verify_finality, verify_succession
from ledger import codec
from ledger.blocks import AuthoritySet, Header
from ledger.types import Record

MAX_SUCCESSION_BYTES: Final = MAX_FINALITY_BYTES + 16_384
"""Beside the proof: a header, and a set of a hundred members."""


class Succession(Record, frozen=True):
    """The header of an epoch's last block, the proof that it is final, and the set it names."""

    header: Header
    finality: FinalityProof
    following: AuthoritySet


def follow(committee: Committee, successions: Iterable[Succession]) -> Committee:
    """Return the committee that the successions lead to, from the epoch of `committee` on.

    None may be missing, and none be of another epoch. Raises `Rejected`.
    """
    for succession in successions:
        verify_finality(succession.header, succession.finality, committee)
        committee = verify_succession(succession.header, succession.following, committee)
    return committee


def decode_succession(data: bytes) -> Succession:
    """Return the succession that `data` encodes canonically. Raises `Rejected`."""
    return codec.decode(data, Succession, MAX_SUCCESSION_BYTES)
