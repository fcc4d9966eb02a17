"""Accounts and API keys in the database: made, looked up, revoked. Keys are kept as hashes."""

import secrets
from collections import OrderedDict
from functools import partial
from typing import Final, NamedTuple

import sqlalchemy as sa
from nacl.secret import SecretBox
from sqlalchemy import Connection

from coordinator import sql, webhooks
from coordinator.ports import Storage
from coordinator.principals import Principal, Role, hash_key, make_key
from coordinator.tables import AccountRow, KeyRow
from ledger.crypto import compute_address, compute_public_key

_CACHED_KEYS: Final = 4_096
SEED_BYTES: Final = 32


class NewKey(NamedTuple):
    """A key at the only moment that it is known."""

    key: str
    key_id: int
    account_id: int
    address: bytes
    role: Role
    label: str
    is_custodial: bool
    created_ms: int


def seal_seed(seed: bytes, sealing_key: bytes) -> bytes:
    """Return an account's seed, encrypted under the node's 32-byte sealing key."""
    return bytes(SecretBox(sealing_key).encrypt(seed))


def open_seed(sealed: bytes, sealing_key: bytes) -> bytes:
    """Return the seed. Raises `nacl.exceptions.CryptoError` for another sealing key."""
    return SecretBox(sealing_key).decrypt(sealed)


def create_account(connection: Connection, sealing_key: bytes, now_ms: int) -> AccountRow:
    """Create a custodial account with a fresh seed."""
    return import_account(connection, secrets.token_bytes(SEED_BYTES), sealing_key, now_ms)


def import_account(
    connection: Connection, seed: bytes, sealing_key: bytes, now_ms: int
) -> AccountRow:
    """Return the custodial account of a seed; one known by its address only becomes custodial."""
    address = compute_address(compute_public_key(seed))
    row = find_or_add_account(connection, address, now_ms)
    if row.sealed_seed is None:
        sql.update(connection, row, sealed_seed=seal_seed(seed, sealing_key))
    return row


def find_or_add_account(connection: Connection, address: bytes, now_ms: int) -> AccountRow:
    """Return the account of an address, added without a seed when it is new."""
    row = sql.find(connection, AccountRow, address=address)
    if row is None:
        row = AccountRow(address=address, created_ms=now_ms)
        row.account_id = sql.insert(connection, row)
    return row


def create_key(
    connection: Connection,
    coordinator: bytes,
    account: AccountRow,
    role: Role,
    label: str,
    now_ms: int,
) -> NewKey:
    """Create a key of an account. The key itself is in the answer and nowhere else."""
    assert account.account_id is not None
    key = make_key(coordinator)
    row = KeyRow(
        account_id=account.account_id,
        role=role.value,
        key_hash=hash_key(key),
        label=label,
        created_ms=now_ms,
    )
    return NewKey(
        key,
        sql.insert(connection, row),
        account.account_id,
        account.address,
        role,
        label,
        account.sealed_seed is not None,
        now_ms,
    )


class KeyRing:
    """Finds the account behind a key; remembers the last few thousand."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
        self._revoked: set[int] = set()
        """A look-up that began before a revocation must not bring the key back."""

    async def find(self, key: str) -> Principal | None:
        """Return who a key belongs to, or None for one that is unknown or revoked."""
        key_hash = hash_key(key)
        principal = self._known.get(key_hash)
        if principal is not None:
            self._known.move_to_end(key_hash)
            return principal
        principal = await self._storage.read(lambda connection: _find(connection, key_hash))
        if principal is not None and principal.key_id in self._revoked:
            return None
        if principal is not None:
            self._known[key_hash] = principal
            if len(self._known) > _CACHED_KEYS:
                self._known.popitem(last=False)
        return principal

    def clear(self) -> None:
        """Forget all keys."""
        self._known.clear()

    def is_revoked(self, key_id: int) -> bool:
        """Tell whether a key was revoked since this process began."""
        return key_id in self._revoked

    async def revoke(self, key_id: int, now_ms: int) -> bool:
        """Revoke a key; it opens nothing from now on. False when there is no such live key."""
        changed = await self._storage.write(partial(_revoke, key_id=key_id, now_ms=now_ms))
        if changed:
            self._revoked.add(key_id)
        for key_hash, principal in list(self._known.items()):
            if principal.key_id == key_id:
                del self._known[key_hash]
        return changed == 1


def _revoke(connection: Connection, key_id: int, now_ms: int) -> int:
    keys = sql.get_table(KeyRow)
    live = (keys.c.key_id == key_id, keys.c.revoked_ms.is_(None))
    changed = connection.execute(keys.update().where(*live).values(revoked_ms=now_ms)).rowcount
    webhooks.end_with_key(connection, key_id, now_ms)
    return changed


def _find(connection: Connection, key_hash: bytes) -> Principal | None:
    keys, accounts = sql.get_table(KeyRow), sql.get_table(AccountRow)
    row = (
        connection.execute(
            sa.select(
                keys.c.key_id,
                keys.c.role,
                keys.c.account_id,
                accounts.c.address,
                accounts.c.sealed_seed,
            )
            .join(accounts, accounts.c.account_id == keys.c.account_id)
            .where(keys.c.key_hash == key_hash, keys.c.revoked_ms.is_(None))
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    return Principal(
        row["key_id"],
        Role(row["role"]),
        row["account_id"],
        row["address"],
        row["sealed_seed"] is not None,
    )
