"""A disk that keeps for certain only what was synced, and anything of the rest.

A file's content is certain up to its last sync, a folder's names up to the folder's. What was done
since may have reached the disk or not, in any part: each file and folder decides for itself, as
nothing orders them. A sector is written as a whole or not at all; a file may have grown before what
was written into it arrived, which leaves zeros.
"""

from collections.abc import Callable, Iterator
from enum import Enum, auto
from pathlib import PurePath
from random import Random
from typing import NamedTuple

from tests.power.recording import Kind, Operation


class Manner(Enum):
    """How a power cut treats all that one file or folder did since its last sync."""

    NOTHING = auto()
    EVERYTHING = auto()
    BEGINNING = auto()
    """The oldest of it has reached the disk."""
    CHANGES = auto()
    """Any of it has, each change whole."""
    SECTORS = auto()
    """Any sectors of it have."""


class Cut(NamedTuple):
    """One power cut: its chance, and how large a sector is."""

    random: Random
    sector: int

    def choose_manner(self) -> Manner:
        return self.random.choice(list(Manner))

    def choose_chance(self) -> float:
        return self.random.choice((0.1, 0.5, 0.9))


def _choose_kept(cut: Cut, manner: Manner, count: int) -> list[bool]:
    """Tell of each of so many changes, oldest first, whether it reached the disk as a whole."""
    match manner:
        case Manner.NOTHING | Manner.SECTORS:
            return [False] * count
        case Manner.EVERYTHING:
            return [True] * count
        case Manner.BEGINNING:
            kept = cut.random.randint(0, count)
            return [number < kept for number in range(count)]
        case Manner.CHANGES:
            chance = cut.choose_chance()
            return [cut.random.random() < chance for _ in range(count)]


class Write(NamedTuple):
    """Bytes at an offset."""

    position: int
    data: bytes

    @property
    def end(self) -> int:
        return self.position + len(self.data)


class Truncation(NamedTuple):
    """A new length."""

    end: int


class File:
    """Bytes that are durable, and changes that only the cache holds."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[Write | Truncation] = []

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def compose(self, cut: Cut) -> bytearray:
        """Return the content that a power cut leaves."""
        content = bytearray(self.durable)
        if not self.pending:
            return content
        manner = cut.choose_manner()
        kept = _choose_kept(cut, manner, len(self.pending))
        for change, is_kept in zip(self.pending, kept, strict=True):
            if is_kept:
                _apply(content, change)
        if manner is Manner.SECTORS:
            self._tear(content, cut)
        return content

    def _tear(self, content: bytearray, cut: Cut) -> None:
        chance = cut.choose_chance()
        for change in self.pending:
            for part in _split(change, cut.sector):
                if cut.random.random() < chance:
                    _apply(content, part)
        if cut.random.random() < 0.5:
            _grow(content, max(change.end for change in self.pending))

    def read(self) -> bytearray:
        """Return the content as the process sees it."""
        content = bytearray(self.durable)
        for change in self.pending:
            _apply(content, change)
        return content


class Folder:
    """Names; each pending change sets some of them, or removes them, at once."""

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self._durable: dict[str, File | Folder] = {}
        self._pending: list[dict[str, File | Folder | None]] = []

    def change(self, entries: dict[str, "File | Folder | None"]) -> None:
        self._pending.append(entries)
        _rename(self.names, entries)

    def sync(self) -> None:
        self._durable = dict(self.names)
        self._pending.clear()

    def compose(self, cut: Cut) -> "dict[str, File | Folder]":
        """Return the names that a power cut leaves."""
        names = dict(self._durable)
        manner = cut.choose_manner()
        if manner is Manner.SECTORS:
            manner = Manner.CHANGES
        kept = _choose_kept(cut, manner, len(self._pending))
        for entries, is_kept in zip(self._pending, kept, strict=True):
            if is_kept:
                _rename(names, entries)
        return names


class Disk:
    """Follows the calls of a recording, whose folder is `root`."""

    def __init__(self, root: PurePath) -> None:
        self._root = root
        self._top = Folder()
        self._open: dict[int, File | Folder] = {}

    def apply(self, operation: Operation) -> None:
        """Take in what the process did next."""
        kind, descriptor = operation.kind, operation.descriptor
        match kind:
            case Kind.OPEN:
                self._open[descriptor] = self._find(operation.path)
            case Kind.CREATE:
                self._open[descriptor] = file = File()
                self._name(operation.path, file)
            case Kind.CLOSE:
                del self._open[descriptor]
            case Kind.WRITE:
                self._find_file(operation).pending.append(Write(operation.position, operation.data))
            case Kind.TRUNCATE:
                self._find_file(operation).pending.append(Truncation(operation.position))
            case Kind.SYNC:
                self._open[descriptor].sync()
            case Kind.RENAME:
                self._rename(operation.path, operation.target)
            case Kind.LINK:
                self._name(operation.target, self._find(operation.path))
            case Kind.UNLINK:
                self._name(operation.path, None)
            case Kind.MAKE_FOLDER:
                self._name(operation.path, Folder())

    def cut(self, cut: Cut) -> dict[PurePath, bytearray | None]:
        """Return what is on the disk after a power cut now: each file's content, None for a folder.

        Paths are relative to the recorded folder, and a folder comes before what is in it.
        """
        found: dict[PurePath, bytearray | None] = {}
        for path, node in _walk(PurePath(), self._top, lambda folder: folder.compose(cut)):
            found[path] = node.compose(cut) if isinstance(node, File) else None
        return found

    def read(self) -> dict[PurePath, bytearray | None]:
        """Return what the process sees, in the same form."""
        found: dict[PurePath, bytearray | None] = {}
        for path, node in _walk(PurePath(), self._top, lambda folder: folder.names):
            found[path] = node.read() if isinstance(node, File) else None
        return found

    def _find(self, path: str) -> File | Folder:
        node: File | Folder = self._top
        for name in PurePath(path).relative_to(self._root).parts:
            assert isinstance(node, Folder)
            node = node.names[name]
        return node

    def _find_file(self, operation: Operation) -> File:
        if operation.path:
            found = self._find(operation.path)
        else:
            found = self._open[operation.descriptor]
        assert isinstance(found, File)
        return found

    def _find_folder(self, path: str) -> Folder:
        folder = self._find(str(PurePath(path).parent))
        assert isinstance(folder, Folder)
        return folder

    def _name(self, path: str, node: File | Folder | None) -> None:
        self._find_folder(path).change({PurePath(path).name: node})

    def _rename(self, path: str, target: str) -> None:
        folder = self._find_folder(path)
        assert folder is self._find_folder(target), "nothing moves between folders"
        folder.change({PurePath(target).name: self._find(path), PurePath(path).name: None})


def _walk(
    path: PurePath, folder: Folder, list_names: Callable[[Folder], dict[str, File | Folder]]
) -> Iterator[tuple[PurePath, File | Folder]]:
    for name, node in list_names(folder).items():
        yield path / name, node
        if isinstance(node, Folder):
            yield from _walk(path / name, node, list_names)


def _rename(names: dict[str, File | Folder], entries: dict[str, File | Folder | None]) -> None:
    for name, node in entries.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _split(change: Write | Truncation, sector: int) -> Iterator[Write | Truncation]:
    """Yield the parts of a change that reach the disk one by one."""
    if isinstance(change, Truncation):
        yield change
        return
    start = change.position
    while start < change.end:
        end = min(change.end, (start // sector + 1) * sector)
        yield Write(start, change.data[start - change.position : end - change.position])
        start = end


def _apply(content: bytearray, change: Write | Truncation) -> None:
    if isinstance(change, Truncation):
        _grow(content, change.end)
        del content[change.end :]
    else:
        _grow(content, change.position)
        content[change.position : change.end] = change.data


def _grow(content: bytearray, length: int) -> None:
    content.extend(bytes(max(0, length - len(content))))
