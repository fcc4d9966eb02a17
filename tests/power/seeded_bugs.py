"""Bugs that the same cuts must find: zero violations count only beside them.

Some are variants of a scenario, the code doing things in the wrong order. The others leave out
syncs: what a program without an fsync does is the recording without that call.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tests.power.recording import Kind, Operation, Recording
from tests.power.scenarios import authority

IsDropped = Callable[[str, str], bool]
"""Of what is synced, its path from the recorded folder; and the name that was given last."""


class Bug(Struct, frozen=True):
    """A scenario's variant, without some of its syncs."""

    scenario: str
    variant: str = "short"
    is_dropped: IsDropped = lambda path, named: False


def _drop(*paths: str) -> IsDropped:
    return lambda path, named: path in paths


def _drop_naming(name: str) -> IsDropped:
    """Drop the folder's sync after a file was given its name."""
    return lambda path, named: path == "node" and named == name


BUGS: Final = {
    "a block is final before it is committed": Bug(
        "authority", authority.ACKNOWLEDGES_BEFORE_COMMIT
    ),
    "a transaction is accepted before it is committed": Bug(
        "authority", authority.ACCEPTS_BEFORE_COMMIT
    ),
    "a block is committed before the vote for it": Bug(
        "authority", authority.COMMITS_BEFORE_SIGNING
    ),
    "synchronous is NORMAL": Bug("authority", authority.SYNCS_AT_CHECKPOINTS),
    "the log is not synced": Bug("authority", is_dropped=_drop("node/node.db-wal")),
    "the log's name is not synced": Bug("authority", is_dropped=_drop_naming("node.db-wal")),
    "a checkpoint is not synced": Bug("authority", is_dropped=_drop("node/node.db")),
    "a vote is not synced": Bug("authority", is_dropped=_drop("node/journal.bin")),
    "a vote is not synced, of four authorities": Bug(
        "cluster", "whole", lambda path, named: path.endswith("/journal.bin")
    ),
    "the rewritten journal is not synced": Bug(
        "authority", is_dropped=_drop("node/journal.bin.new")
    ),
    "the rewritten journal's name is not synced": Bug(
        "authority", is_dropped=_drop_naming("journal.bin")
    ),
    "the cut end of the journal is not synced": Bug(
        "restart", is_dropped=_drop("node/journal.bin")
    ),
    "the new folder's name is not synced": Bug("node", is_dropped=_drop(".")),
    "the settings are not synced": Bug(
        "node", is_dropped=lambda path, named: path.startswith("node/.config.toml")
    ),
    "a restored chain's base is not synced": Bug(
        "operator", is_dropped=_drop("node/base.snapshot.new")
    ),
    "a restored chain's base has no synced name": Bug(
        "operator", is_dropped=_drop_naming("base.snapshot")
    ),
    "a backup is not synced": Bug("operator", is_dropped=_drop("node/backup.db.partial")),
    "a backup's name is not synced": Bug("operator", is_dropped=_drop_naming("backup.db")),
    "the next key is not synced": Bug("rekey", is_dropped=_drop("node/database.key.new")),
    "the next key's name is not synced": Bug("rekey", is_dropped=_drop_naming("database.key.new")),
}


def seed(recording: Recording, is_dropped: IsDropped) -> Recording:
    """Return a recording without the syncs that a bug leaves out."""
    return replace(recording, operations=tuple(_list_kept(recording, is_dropped)))


def _list_kept(recording: Recording, is_dropped: IsDropped) -> Iterator[Operation]:
    paths: dict[int, str] = {}
    named = ""
    for operation in recording.operations:
        match operation.kind:
            case Kind.OPEN:
                paths[operation.descriptor] = operation.path
            case Kind.CREATE:
                paths[operation.descriptor] = operation.path
                named = PurePath(operation.path).name
            case Kind.RENAME | Kind.LINK:
                named = PurePath(operation.target).name
            case Kind.SYNC:
                path = PurePath(paths[operation.descriptor]).relative_to(recording.folder)
                if is_dropped(str(path), named):
                    continue
            case _:
                pass
        yield operation
