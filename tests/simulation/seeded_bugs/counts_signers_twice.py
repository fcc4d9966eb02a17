"""A certificate's signatures are counted, not its signers."""

from consensus.messages import Certificate, Message
from consensus.verification import Committee, VerifiedCertificate, VerifiedMessage, verify
from ledger.ballots import compute_vote_bytes
from tests.simulation.variant import Variant


def _verify(message: Message, committee: Committee) -> VerifiedMessage:
    if not isinstance(message, Certificate) or len(message.signers) < committee.quorum:
        return verify(message, committee)
    data = compute_vote_bytes(committee.chain_id, message.ballot)
    for signer, signature in zip(message.signers, message.signatures, strict=True):
        if not committee.is_valid_signature(committee.get_key(signer), data, signature):
            return verify(message, committee)
    return VerifiedCertificate(message)


VARIANT = Variant(verify=_verify)
