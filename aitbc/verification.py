"""Decides what a receipt proves to whoever holds it, with no network (rules R1 and R2).

Alone it proves who signed what. With the bundle of its settlement, and with what the verifier
trusts of the chain, it proves all that the chain did about it.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from aitbc.errors import InvalidReceiptError
from consensus.receipt_bundle import TrustAnchor, VerifiedReceipt, decode_bundle, verify_bundle
from ledger.blocks import AuthoritySet
from ledger.receipts import ReceiptCore, read_receipt
from ledger.rejection import Rejected
from zk.verifying_key import VerifyingKey


class Trusted(Protocol):
    """What a verifier brings: `genesis.checkpoint.Checkpoint`, or a `TrustAnchor`."""

    @property
    def chain_id(self) -> bytes: ...
    @property
    def authorities(self) -> AuthoritySet: ...
    @property
    def verifying_key(self) -> VerifyingKey: ...


def verify_signature(document: Mapping[str, Any]) -> ReceiptCore:
    """Return what was signed, the signature and every member having been checked.

    Takes the receipt of a job and the longer form of the receipts' list. Whose key it is says the
    chain alone. Raises `InvalidReceiptError`.
    """
    try:
        return read_receipt(document)[0]
    except Rejected as error:
        raise InvalidReceiptError(str(error), error.reason) from None


def verify_settlement(
    bundle: Mapping[str, Any] | bytes, trusted: Trusted, core: ReceiptCore | None = None
) -> VerifiedReceipt:
    """Return what a bundle proves to whoever trusts this; `core` is the receipt it must be about.

    Raises `InvalidReceiptError`.
    """
    data = bundle if isinstance(bundle, bytes) else json.dumps(dict(bundle)).encode()
    anchor = TrustAnchor(trusted.chain_id, trusted.authorities, trusted.verifying_key)
    try:
        proven = verify_bundle(decode_bundle(data), anchor)
    except Rejected as error:
        raise InvalidReceiptError(str(error), error.reason) from None
    if core is not None and proven.core != core:
        raise InvalidReceiptError("the bundle proves another receipt")
    return proven
