"""How the calls about receipts are written."""

from typing import Any

from aitbc.calls.common import JSON, get, get_page, get_value, post, quote
from aitbc.models import Page, Receipt, Verdict
from aitbc.steps import Call


def list_receipts(
    *,
    client: str | None = None,
    provider: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Call[Page[Receipt]]:
    """Return a page of the receipts that one may see."""
    query = {"client": client, "provider": provider, "limit": limit, "cursor": cursor}
    return get_page("/v1/receipts", query, "receipts", Receipt)


def get_receipt(receipt_id: str) -> Call[Receipt]:
    """Return a receipt by its own or its job's id."""
    return get(f"/v1/receipts/{quote(receipt_id)}", Receipt)


def get_receipt_bundle(receipt_id: str) -> Call[Any]:
    """Return the document that verifies a settled receipt without a network, to be kept as it is.

    Raises `JobNotCompletedError` before the settlement is final.
    """
    return get_value(f"/v1/receipts/{quote(receipt_id)}", {"bundle": 1})


def get_receipt_opening(receipt_id: str) -> Call[Any]:
    """Return what a settled receipt's commitments hide, for its owner to show to an auditor.

    Raises `JobNotCompletedError` before the settlement is final.
    """
    return get_value(f"/v1/receipts/{quote(receipt_id)}/opening")


def verify_receipt(receipt: JSON | Receipt) -> Call[Verdict]:
    """Have the node check a receipt's signature, proof and inclusion.

    `Receipt.verify` checks with no node.
    """
    document = receipt.to_dict() if isinstance(receipt, Receipt) else dict(receipt)
    return post("/v1/receipts/verify", {"receipt": document}, Verdict, is_repeatable=True)
