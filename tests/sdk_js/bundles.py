"""Receipt bundles, true and tampered with, each with the verdict of the verifier in Python.

The verifier in JavaScript must give the same: accept what this one accepts, and refuse the rest for
the same reason.
"""

import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec

from consensus.receipt_bundle import (
    ReceiptBundle,
    SettlementPart,
    TrustAnchor,
    decode_bundle,
    verify_bundle,
)
from genesis.checkpoint import Checkpoint, dump_checkpoint, start_from_genesis
from genesis.document import compute_chain_id, dump_genesis
from ledger import codec, crypto
from ledger.blocks import compute_header_hash
from ledger.receipts import decode_base64url, encode_base64url
from ledger.rejection import Rejected
from ledger.transactions import JobSettle, decode_transaction, sign_transaction
from tests.aitbc.cli.settled_receipt import (
    AUTHORITIES,
    CLIENT,
    MINER,
    UNITS,
    SettledReceipt,
    make_settled_receipt,
)
from tests.consensus.test_receipt_bundle import (
    SETTLEMENT_CHANGES,
    STATE_CHANGES,
    change_settlement,
    change_state,
    resign,
)

FLIPS = 60
"""Bits flipped in each part of a bundle, at places that a fixed seed draws."""

replace = msgspec.structs.replace

SIGNED_MEMBERS: tuple[dict[str, Any], ...] = (
    {"chain_id": "00" * 32},
    {"receipt_id": "receipt_" + "00" * 32},
    {"job_id": "job_" + "00" * 32},
    {"provider": "ait1"},
    {"client": "ait1"},
    {"miner_id": "another"},
    {"claim_number": 2},
    {"service": "another"},
    {"units": UNITS + 1},
    {"price": 1},
    {"amount": 1},
    {"result_hash": "00" * 32},
    {"receipt_commit": "00" * 32},
    {"started_ms": 5},
    {"completed_ms": 5},
    {"started_at": 5},
    {"completed_at": 5},
    {"unit_type": 'é\u2028\U0001f600"\\\n'},
    {"model": ""},
    {"device": "", "pins": {}, "verification": "none"},
    {"pins": {"threads": "1", "build": "b 1", "a_1": '"~'}, "energy_joules": 2**53 - 1},
)
"""What the miner's own key signs; the last four are nothing that the chain knows."""


class Case(NamedTuple):
    """One bundle as the bytes of its file, what is trusted, and the verdict."""

    name: str
    bundle: str
    trust: str
    reason: str | None
    """None where it is accepted."""
    proven: dict[str, Any] | None


def make_bundle_cases() -> dict[str, Any]:
    """Return every case, and the documents that are trusted, by name."""
    settled, later = make_settled_receipt(), make_settled_receipt(2, 2)
    trusted = {"genesis": start_from_genesis(settled.chain.genesis)}
    for epoch, checkpoint in enumerate(_list_checkpoints(later)):
        trusted[f"epoch {epoch}"] = checkpoint
    genesis = trusted["genesis"]
    trusted["another chain"] = genesis._replace(chain_id=bytes(32))
    member = genesis.authorities.members[0]
    strangers = replace(genesis.authorities, members=(replace(member, account=bytes(20)),))
    trusted["another set"] = genesis._replace(authorities=strangers)
    drafts = [*_list_plain(settled), *_list_epochs(later)]
    return {
        "cases": [_judge(*draft, trusted)._asdict() for draft in drafts],
        "checkpoints": {
            name: dump_checkpoint(each).decode() for name, each in sorted(trusted.items())
        },
        "genesis": {
            "genesis": dump_genesis(settled.chain.genesis).decode(),
            "epoch 0": dump_genesis(later.chain.genesis).decode(),
        },
        "chain_ids": {
            "genesis": compute_chain_id(settled.chain.genesis).hex(),
            "epoch 0": compute_chain_id(later.chain.genesis).hex(),
        },
    }


Draft = tuple[str, str, str]


def _judge(name: str, bundle: str, trust: str, trusted: dict[str, Checkpoint]) -> Case:
    checkpoint = trusted[trust]
    anchor = TrustAnchor(checkpoint.chain_id, checkpoint.authorities, checkpoint.verifying_key)
    try:
        proven = verify_bundle(decode_bundle(bundle.encode()), anchor)
    except Rejected as refused:
        return Case(name, bundle, trust, refused.reason.name, None)
    shown = {
        "jobId": proven.core.job_id,
        "units": proven.opening.units,
        "transactionId": f"tx_{proven.transaction_id.hex()}",
        "blockHash": proven.block_hash.hex(),
        "height": str(proven.height),
        "blockTime": proven.block_time,
        "amount": str(proven.settled.amount),
        "signers": proven.signers,
        "authorities": proven.authorities,
        "epoch": str(proven.epoch),
    }
    return Case(name, bundle, trust, None, shown)


def _list_plain(settled: SettledReceipt) -> Iterator[Draft]:
    """Yield bundles on a chain of one authority and one epoch."""
    true = decode_bundle(msgspec.json.encode(settled.bundle))
    yield "true", _write(true), "genesis"
    yield "another chain", _write(true), "another chain"
    yield "another set", _write(true), "another set"
    for members in SIGNED_MEMBERS:
        yield f"signed {next(iter(members))}", _write(resign(true, **members)), "genesis"
    yield "signed by the client", _write(resign(true, seed=CLIENT)), "genesis"
    for name, change in SETTLEMENT_CHANGES.items():
        yield f"settlement: {name}", _write(change_settlement(true, change)), "genesis"
    for name, change_entry in STATE_CHANGES.items():
        yield f"state: {name}", _write(change_state(true, change_entry)), "genesis"
    yield "another proof, signed", _write(change_settlement(true, _forge(settled))), "genesis"
    for name, text in _list_documents(settled.bundle):
        yield name, text, "genesis"
    draw = random.Random(8_832)
    for member in ("settlement", "state"):
        data = decode_base64url(getattr(true, member))
        for _ in range(FLIPS):
            place = draw.randrange(8 * len(data))
            flipped = bytearray(data)
            flipped[place // 8] ^= 1 << place % 8
            changed = replace(true, **{member: encode_base64url(bytes(flipped))})
            yield f"{member}: bit {place}", _write(changed), "genesis"


def _forge(settled: SettledReceipt) -> Callable[[SettlementPart], SettlementPart]:
    """Return a change by the miner itself: another amount, signed, under the old root."""

    def change(part: SettlementPart) -> SettlementPart:
        true = decode_transaction(part.transaction)
        assert isinstance(true.payload, JobSettle)
        payload = replace(true.payload, amount=true.payload.amount + 1)
        chain_id = settled.chain.chain_id
        signed = sign_transaction(MINER, chain_id, true.nonce, true.fee, 1_000, payload)
        return replace(part, transaction=codec.encode(signed))

    return change


def _list_documents(true: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield files whose JSON is another than it should be."""
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "a member too many": lambda document: document.update(note="trust me"),
        "no successions": lambda document: document.pop("successions"),
        "no format": lambda document: document.pop("format"),
        "no receipt": lambda document: document.pop("receipt"),
        "another format": lambda document: document.update(format="aitbc-receipt-bundle/2"),
        "successions of a number": lambda document: document.update(successions=[1]),
        "no signature": lambda document: document["receipt"].pop("signature"),
        "a null attestation": lambda document: document["receipt"].update(attestations=None),
        "a null member": lambda document: document["receipt"].update(model=None),
        "a receipt's member too many": lambda document: document["receipt"].update(note="x"),
        "a receipt without version": lambda document: document["receipt"].pop("version"),
        "a receipt of version 2": lambda document: document["receipt"].update(version=2),
        "a receipt's prototype": lambda document: document["receipt"].update(
            {"__proto__": {"model": "x"}}
        ),
        "a member in the client's spelling": lambda document: document["receipt"].update(
            jobId=document["receipt"].pop("job_id")
        ),
        "half a character": lambda document: document["receipt"].update(model="\ud800"),
        "units as text": lambda document: document["receipt"].update(units="42"),
        "units below zero": lambda document: document["receipt"].update(units=-1),
        "units beyond 2^53": lambda document: document["receipt"].update(units=2**53),
        "another algorithm": lambda document: document["receipt"]["signature"].update(alg="none"),
        "two keys": lambda document: document["receipt"]["signature"].update(key_id="AAAA"),
        "a short signature": lambda document: document["receipt"]["signature"].update(sig="AAAA"),
        "padding": lambda document: document["receipt"]["signature"].update(
            sig=document["receipt"]["signature"]["sig"] + "=="
        ),
        "other units opened": lambda document: document["opening"].update(units=UNITS + 1),
        "another salt": lambda document: document["opening"].update(salt="00" * 32),
        "a short salt": lambda document: document["opening"].update(salt="00"),
        "a salt in capitals": lambda document: document["opening"].update(salt="AA" * 32),
        "an opening's member too many": lambda document: document["opening"].update(job="00" * 32),
        "no settlement's text": lambda document: document.update(settlement=""),
        "settlement and state exchanged": lambda document: document.update(
            settlement=document["state"], state=document["settlement"]
        ),
        "bytes after the state": lambda document: document.update(
            state=encode_base64url(decode_base64url(document["state"]) + b"\x00")
        ),
    }
    for name, change in changes.items():
        document = deepcopy(true)
        change(document)
        yield name, json.dumps(document)
    yield "empty", ""
    yield "null", "null"
    yield "a list", "[]"
    yield "deep", "[" * 100_000
    yield "not whole", json.dumps(true)[:-1]
    yield "a member twice", json.dumps(true)[:-1] + ',"format":"aitbc-receipt-bundle/1"}'
    yield "another member twice", json.dumps(true)[:-1] + ',"opening":{}}'
    text, draw = json.dumps(true["receipt"]), random.Random(8_785)
    for _ in range(FLIPS):
        place = draw.randrange(len(text))
        spoilt = text[:place] + chr(ord(text[place]) ^ 1 << draw.randrange(6)) + text[place + 1 :]
        members = {name: value for name, value in true.items() if name != "receipt"}
        yield f"the receipt's text: {place}", f'{json.dumps(members)[:-1]},"receipt":{spoilt}}}'
    yield "too large", json.dumps(true) + " " * 4 * 1024 * 1024


def _list_epochs(later: SettledReceipt) -> Iterator[Draft]:
    """Yield bundles over epochs: two end before the job, two after its settlement."""
    true = decode_bundle(msgspec.json.encode(later.bundle))
    for epoch in range(5):
        yield f"from epoch {epoch}", _write(true), f"epoch {epoch}"
    for missing in range(4):
        texts = tuple(text for n, text in enumerate(true.successions) if n != missing)
        cut = _write(replace(true, successions=texts))
        yield f"without succession {missing}", cut, "epoch 0"
        yield f"without succession {missing}, from the next", cut, f"epoch {missing + 1}"
    first, second, *others = true.successions
    successions = later.chain.successions
    stranger = replace(successions[0], following=successions[1].following)
    for number, texts in enumerate(
        (
            (second, first, *others),
            (first, first, second, *others),
            (encode_base64url(codec.encode(stranger)), second, *others),
            (first[:-4], second, *others),
            ("", *true.successions),
            (*true.successions, true.state),
        )
    ):
        yield f"other successions {number}", _write(replace(true, successions=texts)), "epoch 0"
    part = codec.decode(decode_base64url(true.settlement), SettlementPart, 2**20)
    child = replace(
        part.header,
        height=part.header.height + 1,
        view=part.header.view + 4,
        parent_view=part.header.view,
        parent=compute_header_hash(part.header),
    )
    tips = {
        "by its child": child,
        "by a stranger": replace(child, parent=bytes(32)),
        "by another epoch": replace(child, epoch=3),
        "by the same view": replace(child, view=part.header.view),
        "by a grandchild": replace(child, height=child.height + 1),
    }
    for name, tip in tips.items():
        changed = replace(part, finality=later.chain.prove_final(part.header, tip))
        text = encode_base64url(codec.encode(changed))
        yield f"final {name}", _write(replace(true, settlement=text)), "epoch 0"
    for name, changed in _list_certificates(part).items():
        text = encode_base64url(codec.encode(changed))
        yield f"certificate: {name}", _write(replace(true, settlement=text)), "epoch 0"


def _list_certificates(part: SettlementPart) -> dict[str, SettlementPart]:
    true = part.finality.certificate
    changed = {
        "one signer too few": replace(
            true, signers=true.signers[:-1], signatures=true.signatures[:-1]
        ),
        "a signer twice": replace(true, signers=(true.signers[0],) * len(true.signers)),
        "signers out of order": replace(
            true, signers=true.signers[::-1], signatures=true.signatures[::-1]
        ),
        "a signer of no set": replace(true, signers=(*true.signers[:-1], 99)),
        "a signature missing": replace(true, signatures=true.signatures[:-1]),
        "another's signature": replace(
            true,
            signatures=(crypto.sign(AUTHORITIES[5], b""), *true.signatures[1:]),
        ),
        "another view": replace(true, ballot=replace(true.ballot, view=true.ballot.view + 1)),
        "another epoch": replace(true, ballot=replace(true.ballot, epoch=1)),
    }
    return {
        name: replace(part, finality=replace(part.finality, certificate=each))
        for name, each in changed.items()
    }


def _list_checkpoints(settled: SettledReceipt) -> list[Checkpoint]:
    start = start_from_genesis(settled.chain.genesis)
    sets = [each.following for each in settled.chain.successions]
    return [start, *(start._replace(authorities=each) for each in sets)]


def _write(bundle: ReceiptBundle) -> str:
    return msgspec.json.encode(bundle).decode()
