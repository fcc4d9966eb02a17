"""A settlement that holds, and how tests turn it into one that does not."""

from typing import Any, Final

import msgspec

from zk.statement import (
    PER_SECOND,
    Offer,
    Price,
    PublicInputs,
    Receipt,
    Witness,
    commit_offer,
    commit_price,
    commit_receipt,
)

CLAIM_TIME: Final = 1_800_000_050_000
STARTED: Final = 1_800_000_100_000
COMPLETED: Final = 1_800_000_500_000
PAYEE: Final = (1 << 159) + 5
RANDOMNESS: Final = bytes(range(32))

OFFER: Final = Offer(
    job=11,
    client=22,
    max_units=350,
    max_price=3_000_000_000,
    not_before=1_800_000_000_000,
    deadline=1_800_000_900_000,
    model=44,
    input_hash=55,
    salt=66,
)
PRICE: Final = Price(price=2_000_000_000, salt=77)
RECEIPT: Final = Receipt(units=321, started=STARTED, completed=COMPLETED, result_hash=88, salt=99)


def make_statement(
    offer: Offer = OFFER, price: Price = PRICE, receipt: Receipt = RECEIPT, **public: Any
) -> tuple[PublicInputs, Witness]:
    """Public inputs that fit the witness, but for those given by name."""
    fitting = PublicInputs(
        job_commit=commit_offer(offer),
        price_commit=commit_price(price),
        receipt_commit=commit_receipt(receipt, offer.job, public.get("payee", PAYEE)),
        amount=receipt.units * price.price % (1 << 63),
        payee=PAYEE,
        claim_time=CLAIM_TIME,
        billing=PER_SECOND,
        epoch_time=COMPLETED + 10_000,
        context=123_456_789,
    )
    return msgspec.structs.replace(fitting, **public), Witness(offer, price, receipt)
