"""How a miner is registered or its announcement replaced, and what is known of it meanwhile."""

import hmac
from hashlib import sha256
from typing import Any, Final, NamedTuple

import rfc8785
from nacl.public import PrivateKey
from sqlalchemy import Connection

from coordinator import leasing, sql
from coordinator.coordinator import Coordinator
from coordinator.principals import Principal
from coordinator.tables import WorkerRow
from ledger.entries import Miner
from ledger.rejection import Rejected, Rejection
from ledger.state import get_miner
from ledger.transactions import (
    MAX_METADATA_BYTES,
    MinerRegister,
    MinerUpdate,
    VerifiedTransaction,
    decode_transaction,
)

ENCRYPTION_KEY_TAG: Final = b"aitbc/miner-encryption/1\x00"


class Registration(NamedTuple):
    """What came of a registration: `transaction` None when nothing had to change."""

    transaction: bytes | None
    is_new: bool


def encode_metadata(members: dict[str, Any]) -> bytes:
    """Return what the chain carries of a miner. Raises `Rejected(TOO_LARGE)`."""
    data = rfc8785.dumps(members)
    if len(data) > MAX_METADATA_BYTES:
        raise Rejected(Rejection.TOO_LARGE, f"a miner announces at most {MAX_METADATA_BYTES} bytes")
    return data


async def register_miner(
    coordinator: Coordinator,
    principal: Principal,
    name: str,
    metadata: bytes,
    encryption_key: bytes | None,
    bond: int | None,
    signed: VerifiedTransaction | None,
) -> Registration:
    """Register a miner, or update one's own active one. Raises `Rejected`."""
    entry = get_miner(coordinator.chain.get_view(), name)
    if entry is not None and entry.owner != principal.address:
        raise Rejected(Rejection.MINER_ID_TAKEN)
    worker = await _find_worker(coordinator, name)
    is_known = entry is not None and entry.is_active
    if worker is not None and worker.account_id != principal.account_id and not is_known:
        raise Rejected(Rejection.MINER_ID_TAKEN)
    if principal.is_custodial:
        return await _register_custodial(
            coordinator, principal, name, metadata, encryption_key, bond
        )
    if signed is None:
        if is_known:
            return Registration(None, False)
        raise Rejected(
            Rejection.BAD_SIGNATURE,
            "the account signs by itself: send `transaction`, a signed miner_register",
        )
    payload = signed.transaction.payload
    if not isinstance(payload, MinerRegister | MinerUpdate) or payload.miner != name:
        raise Rejected(Rejection.MALFORMED, "the transaction registers another miner")
    note = _note(coordinator, principal, name)
    transaction = await coordinator.wallets.send_signed(principal.address, signed, note, None)
    return Registration(transaction, not is_known)


async def _register_custodial(
    coordinator: Coordinator,
    principal: Principal,
    name: str,
    metadata: bytes,
    encryption_key: bytes | None,
    bond: int | None,
) -> Registration:
    wallets = coordinator.wallets
    if encryption_key is None:
        encryption_key = derive_encryption_key(await wallets.open_seed(principal.address))
    payload: MinerRegister | MinerUpdate
    note = _note(coordinator, principal, name)
    async with coordinator.job_locks.get(b"miner:" + name.encode()):
        worker = await _find_worker(coordinator, name)
        sent = None
        if worker is not None and worker.register_tx is not None:
            sent = await wallets.find(worker.register_tx)
        # After the last wait: what was pending above may have become final meanwhile.
        entry = get_miner(coordinator.chain.get_view(), name)
        if entry is not None and entry.is_active:
            if (entry.metadata, entry.encryption_key) == (metadata, encryption_key):
                return Registration(None, False)
            payload = MinerUpdate(name, encryption_key, metadata, 0)
            return Registration(await wallets.send(principal.address, payload, note), False)
        if sent is not None and sent.state == "pending":
            return Registration(sent.transaction_id, False)
        least = coordinator.chain.parameters.minimum_bond
        payload = MinerRegister(name, encryption_key, metadata, least if bond is None else bond)
        return Registration(await wallets.send(principal.address, payload, note), True)


def derive_encryption_key(seed: bytes) -> bytes:
    """Return the X25519 public key of a custodial miner."""
    return bytes(PrivateKey(derive_encryption_secret(seed)).public_key)


def derive_encryption_secret(seed: bytes) -> bytes:
    """Return the X25519 secret of a custodial miner."""
    return hmac.new(seed, ENCRYPTION_KEY_TAG, sha256).digest()


async def find_miner(coordinator: Coordinator, name: str) -> tuple[str, Miner] | None:
    """Return a miner and whether it is registering, active or exited; None if nobody has the name.

    One that is registering is as its transaction says, with `registered_at` 0.
    """
    entry = get_miner(coordinator.chain.get_view(), name)
    sent = None
    if entry is None:
        sent = await _find_sent(coordinator, name)
        # After the wait: what was pending may have become final meanwhile.
        entry = get_miner(coordinator.chain.get_view(), name)
    if entry is not None:
        return "active" if entry.is_active else "exited", entry
    return None if sent is None else ("registering", sent)


async def _find_sent(coordinator: Coordinator, name: str) -> Miner | None:
    worker = await _find_worker(coordinator, name)
    if worker is None or worker.register_tx is None:
        return None
    sent = await coordinator.wallets.find(worker.register_tx)
    if sent is None or sent.state != "pending":
        return None
    payload = decode_transaction(sent.raw).payload
    if not isinstance(payload, MinerRegister):
        return None
    return Miner(sent.sender, payload.encryption_key, payload.metadata, payload.bond, False, 0)


async def require_state(coordinator: Coordinator, principal: Principal, name: str) -> Miner:
    """Return an account's own active miner and note that it is there. Raises `Rejected`."""
    miner = leasing.require_miner(coordinator, principal, name)
    await leasing.note_seen(coordinator, principal, name)
    return miner


async def _find_worker(coordinator: Coordinator, name: str) -> WorkerRow | None:
    row = await coordinator.storage.read(
        lambda connection: sql.find(connection, WorkerRow, miner=name)
    )
    if row is None or row.register_tx is None:
        return row
    sent = await coordinator.wallets.find(row.register_tx)
    # A registration that failed leaves no claim on the name.
    is_over = sent is None or sent.state not in ("pending", "final")
    return None if is_over else row


def _note(coordinator: Coordinator, principal: Principal, name: str) -> Any:
    now = coordinator.get_now()

    def note(connection: Connection, transaction_id: bytes) -> None:
        row = sql.find(connection, WorkerRow, miner=name)
        values: dict[str, Any] = {
            "account_id": principal.account_id,
            "register_tx": transaction_id,
            "seen_ms": now,
        }
        if row is None:
            sql.insert(connection, WorkerRow(miner=name, created_ms=now, **values))
        else:
            sql.update(connection, row, **values)

    return note
