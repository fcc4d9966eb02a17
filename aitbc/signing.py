"""Decides what a client signs with its own key, and what it refuses to sign.

A coordinator that is asked for a job by an account that signs by itself answers with the payload to
sign. It may be anybody: what it names is checked against what was asked for, and the identity of
the job and the salt of its terms are the client's own, so that the same idempotency key at another
node is the same job, paid once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from aitbc.calls.chain import get_account, get_chain_status
from aitbc.errors import APIError, SignatureNeededError, SigningRefusedError
from aitbc.steps import Call, Flow
from aitbc.wallet import Wallet
from ledger import codec, terms
from ledger.rejection import Rejected
from ledger.terms import Terms
from ledger.transactions import JobCancel, JobSubmit, Payload
from ledger.types import MAX_AMOUNT, UNITS_PER_AIT

T = TypeVar("T")

VALID_BLOCKS: Final = 1_000
"""For how many heights a transaction may enter a block; a lost one never comes much later."""
MAX_PAYLOAD_BYTES: Final = 16 * 1024
TAG_PURPOSE: Final = b"aitbc/client-idempotency/1\x00"
JOB_PREFIX: Final = "job_"
_ATTEMPTS: Final = 4
_NONCE_CODES: Final = frozenset({"NONCE_USED", "NONCE_GAP", "REPLACEMENT_UNDERPRICED"})


@dataclass(frozen=True, slots=True)
class Signer:
    """A client's own key; with `chain_id` (hex) it signs for that chain only."""

    wallet: Wallet
    chain_id: str | None = None

    def sign(self, payload: Payload) -> Flow[str]:
        """Return a payload's signed transaction in hex, with the account's next nonce."""
        status = yield from get_chain_status()
        if self.chain_id is not None and status.chain_id != self.chain_id:
            raise SigningRefusedError(f"the node is on chain {status.chain_id}")
        account = yield from get_account(self.wallet.text_address)
        try:
            signed = self.wallet.sign(
                payload,
                chain_id=bytes.fromhex(status.chain_id),
                nonce=account.pending_nonce,
                fee_rate=status.minimum_fee_rate,
                valid_until=status.height + min(VALID_BLOCKS, status.maximum_validity),
            )
        except ValueError as error:
            raise SigningRefusedError(str(error)) from None
        return signed.raw.hex()


def sign_if_asked(call: Call[T], signer: Signer | None) -> Flow[T]:
    """Send a call that makes a job; where the account signs by itself, sign what comes back."""
    try:
        answer = yield from call
    except SignatureNeededError as error:
        if signer is None:
            raise
        problem, body = error.problem, call.body
    else:
        return answer
    assert isinstance(body, Mapping) and call.idempotency_key is not None
    payload, opening = build_submission(signer.wallet, problem, body, call.idempotency_key)
    members = {**body, "terms": terms.write_opening(opening)}
    return (yield from send_signed(call, signer, payload, members))


def sign_cancel(call: Call[T], job_id: str, signer: Signer | None) -> Flow[T]:
    """Send the call that cancels a job, signed where the client keeps its own key."""
    if signer is None:
        answer = yield from call
        return answer
    job = read_id(job_id, JOB_PREFIX)
    return (yield from send_signed(call, signer, JobCancel(job), {}))


def build_submission(
    wallet: Wallet, problem: Mapping[str, Any], body: Mapping[str, Any], idempotency_key: str
) -> tuple[JobSubmit, Terms]:
    """Return the payload to sign and the opening of its commitment, for a body that was sent.

    Raises `SigningRefusedError` where the coordinator asks for something else.
    """
    tag = sha256(TAG_PURPOSE + wallet.address + idempotency_key.encode()).digest()
    job = terms.compute_job_id(wallet.address, tag)
    salt = terms.derive_salt(wallet.derive_salt_secret(), terms.OFFER_SALT, job)
    try:
        given = codec.decode(bytes.fromhex(problem["payload"]), JobSubmit, MAX_PAYLOAD_BYTES)
        named = {**problem["terms"], "job": job.hex(), "salt": salt.hex()}
        opening = terms.read_opening(named, Terms)
        content = problem["content"]
        is_of_content = terms.compute_content_hash(content) == opening.input_hash
        is_of_model = terms.compute_model_hash(content["model"]) == opening.model
    except (KeyError, TypeError, ValueError, Rejected) as error:
        raise SigningRefusedError(f"the node's payload cannot be read: {error!r}") from None
    limit = read_limit(body)
    refusal = None
    if opening.client != wallet.address:
        refusal = "the terms name another client"
    elif not is_of_content or not is_of_model:
        refusal = "the terms are not those of the content"
    elif content.get("service") != given.service:
        refusal = "the payload names another service than the content"
    elif (what := _find_change(body, content)) is not None:
        refusal = f"the content's {what} is not the one that was sent"
    elif given.escrow > limit or opening.max_units * opening.max_price > given.escrow:
        refusal = f"the escrow of {given.escrow} base units is not within the {limit} allowed"
    elif opening.not_before or opening.deadline < given.total_deadline:
        refusal = "the terms leave less time than the payload"
    if refusal is not None:
        raise SigningRefusedError(refusal)
    changes = {"idempotency_tag": tag, "job_commit": terms.commit_terms(opening)}
    return msgspec.structs.replace(given, **changes), opening


def read_limit(body: Mapping[str, Any]) -> int:
    """Return the escrow that a body allows, in base units. Raises `SigningRefusedError`.

    A job that names none is priced by the coordinator, which is not what a signature is given for.
    """
    pricing = body.get("pricing")
    given = body.get("max_cost", pricing.get("max_cost") if isinstance(pricing, Mapping) else None)
    if given is None:
        raise SigningRefusedError("name `max_cost`: it bounds what is signed away")
    return read_ait("max_cost", given)


def read_ait(name: str, given: Any) -> int:
    """Return an amount of AIT in base units. Raises `SigningRefusedError`."""
    try:
        base = Decimal(str(given)) * UNITS_PER_AIT
        if not 0 <= base <= MAX_AMOUNT or base != base.to_integral_value():
            raise InvalidOperation
    except InvalidOperation:
        raise SigningRefusedError(f"{name} {given!r} is no amount of AIT") from None
    return int(base)


def read_id(text: str, prefix: str) -> bytes:
    """Return the 32 bytes of an id. Raises `SigningRefusedError`."""
    try:
        found = bytes.fromhex(text.removeprefix(prefix))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise SigningRefusedError(f"{text!r} is no id of the form {prefix}…")
    return found


def _find_change(body: Mapping[str, Any], content: Mapping[str, Any]) -> str | None:
    """Return the member of the input that the coordinator changed, None where it is what was sent.

    What the content adds is the service's defaults; what it lacks is read under another name.
    """
    found = content.get("input")
    if not isinstance(found, Mapping):
        return "input"
    given = body.get("input")
    sent = dict(given) if isinstance(given, Mapping) else {}
    if isinstance(body.get("prompt"), str):
        sent["prompt"] = body["prompt"]
    for name, value in sent.items():
        if name in found and found[name] != value:
            return str(name)
    if isinstance(given, str) and given not in found.values():
        return "input"
    return None


def send_signed(
    call: Call[T],
    signer: Signer,
    payload: Payload,
    members: Mapping[str, Any],
    idempotency_key: str | None = None,
) -> Flow[T]:
    """Send a call with its transaction; again with the next nonce, where another took this one.

    What says itself which job or offer it makes needs no idempotency key; and each signature is
    another body, for which the key of the unsigned one would be refused.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        transaction = yield from signer.sign(payload)
        body = {**members, "transaction": transaction}
        signed = replace(call, body=body, idempotency_key=idempotency_key, is_repeatable=True)
        try:
            return (yield from signed)
        except APIError as error:
            if error.code not in _NONCE_CODES or attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")
