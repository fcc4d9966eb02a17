"""Decides whether the opening of a receipt is what the chain committed to (section P7).

A bundle (rule R2) shows units, times and result. The opening adds the client's own terms and the
agreed price; with both, nothing of the settlement's statement is left to believe.
"""

import msgspec

from consensus.receipt_bundle import VerifiedReceipt
from ledger.rejection import Rejected, Rejection
from ledger.terms import compute_model_hash
from zk.field import to_field
from zk.opening import check_opening
from zk.statement import HASH_BYTES, Witness, address_to_field


def audit_opening(opening: Witness, proven: VerifiedReceipt) -> None:
    """Check an opening against a receipt that `verify_bundle` has proven.

    It must obey every rule of the proof with the public inputs of the settlement, be of this job
    and client, and say what the miner signed of model, input and price. Raises `Rejected`
    (`BAD_ROOT`), naming the broken rules or the first member that differs.
    """
    # An opening holds whatever the proof's context is: that binds the proof, not what it shows.
    public = {
        name: value
        for name, value in msgspec.structs.asdict(proven.public).items()
        if name != "context"
    }
    broken = check_opening(opening, **public)
    if broken:
        raise Rejected(Rejection.BAD_ROOT, f"the opening breaks {', '.join(broken)}")
    core, offer = proven.core, opening.offer
    expected = {
        "job": (offer.job, to_field(proven.settled.job)),
        "client": (offer.client, address_to_field(proven.job.client)),
        "model": (offer.model, to_field(compute_model_hash(core.model))),
        "input_hash": (offer.input_hash, to_field(_read_hash(core.input_hash))),
        "price": (opening.price.price, core.price),
    }
    for name, (opened, said) in expected.items():
        if opened != said:
            raise Rejected(Rejection.BAD_ROOT, f"the opening's {name} is not the receipt's")


def _read_hash(text: str) -> bytes:
    # `fromhex` alone takes capitals and white space too: other texts for the same hash.
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES or value.hex() != text:
        raise Rejected(Rejection.MALFORMED, "the receipt's input_hash is no hash")
    return value
