"""The rules of miner registration: register, update, exit (rules N1 to N4)."""

import msgspec

from ledger.context import Context, credit, debit
from ledger.entries import Miner, miner_key
from ledger.outcomes import Event
from ledger.rejection import Rejected, Rejection
from ledger.state import get_miner
from ledger.transactions import MinerExit, MinerRegister, MinerUpdate


def apply_register(context: Context, sender: bytes, payload: MinerRegister) -> tuple[Event, ...]:
    """Lock the bond and enter the name; an exited miner keeps its history (rule N1)."""
    changes = context.changes
    miner = get_miner(changes, payload.miner)
    if miner is not None and miner.owner != sender:
        raise Rejected(Rejection.MINER_ID_TAKEN)
    if miner is not None and miner.is_active:
        raise Rejected(Rejection.MINER_ALREADY_ACTIVE)
    if payload.bond < context.rules.parameters.minimum_bond:
        raise Rejected(
            Rejection.BOND_TOO_LOW, f"at least {context.rules.parameters.minimum_bond} base units"
        )
    debit(changes, sender, payload.bond)
    if miner is None:
        entry = Miner(
            owner=sender,
            encryption_key=payload.encryption_key,
            metadata=payload.metadata,
            bond=payload.bond,
            is_active=True,
            registered_at=context.time,
        )
    else:
        entry = msgspec.structs.replace(
            miner,
            encryption_key=payload.encryption_key,
            metadata=payload.metadata,
            bond=payload.bond,
            is_active=True,
        )
    changes.put(miner_key(payload.miner), entry)
    return ()


def apply_update(context: Context, sender: bytes, payload: MinerUpdate) -> tuple[Event, ...]:
    """Replace key and metadata, add to the bond (rule N2)."""
    changes = context.changes
    miner = require_own_miner(context, sender, payload.miner)
    debit(changes, sender, payload.added_bond)
    changes.put(
        miner_key(payload.miner),
        msgspec.structs.replace(
            miner,
            encryption_key=payload.encryption_key,
            metadata=payload.metadata,
            bond=miner.bond + payload.added_bond,
        ),
    )
    return ()


def apply_exit(context: Context, sender: bytes, payload: MinerExit) -> tuple[Event, ...]:
    """Return the bond of a miner that holds no lease (rule N3)."""
    changes = context.changes
    miner = require_own_miner(context, sender, payload.miner)
    if miner.live_leases:
        raise Rejected(Rejection.MINER_HAS_LEASES)
    credit(changes, sender, miner.bond)
    changes.put(miner_key(payload.miner), msgspec.structs.replace(miner, bond=0, is_active=False))
    return ()


def require_own_miner(context: Context, sender: bytes, name: str) -> Miner:
    """Return the sender's active miner of this name. Raises `Rejected`."""
    miner = get_miner(context.changes, name)
    if miner is None:
        raise Rejected(Rejection.MINER_UNKNOWN)
    if miner.owner != sender:
        raise Rejected(Rejection.MINER_NOT_OWNED)
    if not miner.is_active:
        raise Rejected(Rejection.MINER_NOT_ACTIVE)
    return miner
