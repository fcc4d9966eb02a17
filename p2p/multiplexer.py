"""Streams inside one secured connection: yamux, with every window enforced (rule W5).

libp2p's own class speaks the same bytes; it neither holds a peer to its window nor bounds streams,
polls for a window, and ends a stream whose reader pauses for five seconds. Here a peer that sends
beyond its window loses the connection, one write carries what all streams have to say, votes
first, and memory is the sum of the windows.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from p2p.libp2p_parts import (
    ISecureConn,
)
from p2p.limits import MAX_STREAMS, TokenBucket

PROTOCOL: Final = "/yamux/1.0.0"
INITIAL_WINDOW: Final = 256 * 1024
MAX_SEND_WINDOW: Final = 64 * 1024 * 1024
MAX_BATCH: Final = 65_519
"""Plaintext of one Noise message; a write of more would be two."""
MAX_CHUNK: Final = 16 * 1024
"""What one stream sends before the next one's turn."""
PIECE_BYTES: Final = 8 * 1024
"""Of a long message, so many bytes count as one piece of a peer's rate."""
MAX_REPLIES: Final = 64 * 1024
"""Bytes of pongs and resets that a peer may cause without reading them."""

_HEADER: Final = struct.Struct(">BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8


class ConnectionLost(Exception):
    """The connection, or a stream of it, has ended; nothing more is sent or received."""


class ProtocolViolation(ConnectionLost):
    """The peer broke the rules of the multiplexer."""


class Stream:
    """One stream. `push` never waits, `send` waits until all is handed to the connection."""

    def __init__(self, multiplexer: "Multiplexer", number: int, priority: int) -> None:
        self.number = number
        self.priority = priority
        self.on_written: Callable[[int], None] | None = None
        self.send_window = INITIAL_WINDOW
        self.starved_since: float | None = None
        """Since when bytes wait for the peer's window; `None` while none do."""
        self.is_broken = False
        self.is_ended = False
        """The peer sends no more."""
        self._multiplexer = multiplexer
        self._window = INITIAL_WINDOW
        self._allowed = INITIAL_WINDOW
        self._received = bytearray()
        self._readable = trio.Event()
        self._outgoing: deque[memoryview] = deque()
        self._drained = trio.Event()

    @property
    def has_outgoing(self) -> bool:
        """Whether bytes wait to be sent."""
        return bool(self._outgoing)

    def enlarge(self, window: int) -> None:
        """Let the peer send up to so much before it is read."""
        more = window - self._window
        if more > 0:
            self._window = window
            self._allow(more)

    def push(self, data: bytes) -> None:
        """Queue bytes; the caller bounds how many."""
        self._outgoing.append(memoryview(data))
        self._multiplexer.wake()

    async def send(self, data: bytes) -> None:
        """Queue bytes and wait until they are written. Raises `ConnectionLost`."""
        if self.is_broken:
            raise ConnectionLost("the stream is closed")
        self.push(data)
        while self._outgoing:
            self._drained = trio.Event()
            await self._drained.wait()
            if self.is_broken:
                raise ConnectionLost("the stream is closed")

    async def receive(self) -> bytes:
        """Return what has come, at least one byte. Raises `ConnectionLost` at the end."""
        while not self._received:
            if self.is_broken or self.is_ended:
                raise ConnectionLost("the peer closed the stream")
            self._readable = trio.Event()
            await self._readable.wait()
        data = self.take_received()
        missing = self._window - self._allowed
        if missing >= self._window // 2:
            self._allow(missing)
        return data

    def take_received(self) -> bytes:
        """Return what has come so far, perhaps nothing."""
        data = bytes(self._received)
        self._received.clear()
        return data

    def unread(self, data: bytearray) -> None:
        """Put back bytes that were received ahead of their reader."""
        if data:
            self._received[:0] = data
            self._readable.set()

    def close(self) -> None:
        """Take no more and send no more; the peer hears a reset."""
        if not self.is_broken:
            self._multiplexer.reset(self)

    def take(self, room: int) -> list[memoryview]:
        """Return the next bytes to send, as far as the peer's window and `room` allow."""
        chunks = []
        while self._outgoing and (size := min(room, self.send_window)) > 0:
            chunk = self._outgoing.popleft()
            if len(chunk) > size:
                self._outgoing.appendleft(chunk[size:])
                chunk = chunk[:size]
            chunks.append(chunk)
            room -= len(chunk)
            self.send_window -= len(chunk)
        if self._outgoing and self.send_window <= 0 and self.starved_since is None:
            self.starved_since = trio.current_time()
        return chunks

    def widen(self, more: int) -> None:
        """Note that the peer takes more bytes."""
        self.send_window = min(self.send_window + more, MAX_SEND_WINDOW)
        self.starved_since = None

    def feed(self, data: memoryview) -> None:
        """Take bytes from the peer. Raises `ProtocolViolation` beyond the window."""
        if self.is_broken or self.is_ended:
            return
        if len(data) > self._allowed:
            raise ProtocolViolation("more bytes than the window allows")
        self._allowed -= len(data)
        self._received += data
        self._readable.set()

    def wake_writers(self) -> None:
        """Tell `send` that something was written."""
        self._drained.set()

    def end(self, *, is_broken: bool) -> None:
        """Note that the peer closed or reset the stream, or that the connection ended."""
        self.is_ended = True
        if is_broken:
            self.is_broken = True
            self._outgoing.clear()
        self._readable.set()
        self._drained.set()

    def _allow(self, more: int) -> None:
        self._allowed += more
        self._multiplexer.reply(WINDOW_UPDATE, 0, self.number, more)


class Multiplexer:
    """The streams of one connection; `run` reads and writes until it ends."""

    def __init__(self, connection: ISecureConn, *, is_initiator: bool) -> None:
        self.blocked_since: float | None = None
        """Since when a write waits for the peer's end of the connection; `None` while none does."""
        self.pieces: TokenBucket | None = None
        """What the peer's messages and frames are counted in, once it has a rate."""
        self._connection = connection
        self._next = 1 if is_initiator else 2
        self._highest_remote = 0
        self._streams: dict[int, Stream] = {}
        self._accepted_send, self._accepted = trio.open_memory_channel[Stream](MAX_STREAMS)
        self._replies = bytearray()
        self._replies_written = trio.Event()
        self._wake = trio.Event()
        self._buffer = bytearray()
        self._current: tuple[Stream | None, int, int] | None = None
        """Whose data comes, how much of it, and the flags of its header."""

    async def run(self) -> None:
        """Serve until the connection ends. Raises `ConnectionLost` or what libp2p raises."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
        finally:
            for stream in tuple(self._streams.values()):
                stream.end(is_broken=True)
            self._accepted_send.close()

    def open(self, priority: int) -> Stream:
        """Return a new stream to the peer. Raises `ConnectionLost` beyond the limit."""
        if len(self._streams) >= MAX_STREAMS:
            raise ConnectionLost("too many streams")
        stream = self._streams[self._next] = Stream(self, self._next, priority)
        self.reply(WINDOW_UPDATE, SYN, self._next, 0)
        self._next += 2
        return stream

    async def accept(self) -> Stream:
        """Return the next stream that the peer opens. Raises `ConnectionLost`."""
        try:
            return await self._accepted.receive()
        except trio.EndOfChannel:
            raise ConnectionLost("the connection ended") from None

    def reset(self, stream: Stream) -> None:
        """End a stream at once."""
        self._streams.pop(stream.number, None)
        stream.end(is_broken=True)
        self.reply(WINDOW_UPDATE, RST, stream.number, 0)

    def reply(self, kind: int, flags: int, stream: int, value: int) -> None:
        """Queue a header without data."""
        self._replies += _HEADER.pack(0, kind, flags, stream, value)
        self.wake()

    def wake(self) -> None:
        """Tell the writer that something waits."""
        self._wake.set()

    def find_stall(self) -> float | None:
        """Return since when the peer takes nothing although bytes wait; `None` when it does."""
        since = [self.blocked_since, *(each.starved_since for each in self._streams.values())]
        return min((time for time in since if time is not None), default=None)

    async def flush(self) -> None:
        """Wait until nothing waits to be written, as far as the peer's windows allow."""
        while self._replies or any(
            s.has_outgoing and s.send_window for s in self._streams.values()
        ):
            self._replies_written = trio.Event()
            await self._replies_written.wait()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while True:
                batch, written = self._gather()
                if not batch:
                    break
                self.blocked_since = trio.current_time()
                await self._connection.write(batch)
                self.blocked_since = None
                for stream, size in written.items():
                    if stream.on_written is not None:
                        stream.on_written(size)
                    stream.wake_writers()
                self._replies_written.set()
            self._replies_written.set()

    def _gather(self) -> tuple[bytes, dict[Stream, int]]:
        """Return one Noise message's worth of headers and data, the streams taking turns."""
        parts: list[bytes | memoryview] = [bytes(self._replies[:MAX_BATCH])]
        del self._replies[:MAX_BATCH]
        room = MAX_BATCH - len(parts[0])
        written: dict[Stream, int] = {}
        waiting = [stream for stream in self._streams.values() if stream.has_outgoing]
        waiting.sort(key=lambda stream: stream.priority)
        while waiting and room > _HEADER.size:
            for stream in tuple(waiting):
                chunks = stream.take(min(room - _HEADER.size, MAX_CHUNK))
                size = sum(map(len, chunks))
                if not size:
                    waiting.remove(stream)
                    continue
                parts += (_HEADER.pack(0, DATA, 0, stream.number, size), *chunks)
                room -= _HEADER.size + size
                written[stream] = written.get(stream, 0) + size
        return b"".join(parts), written

    async def _read(self) -> None:
        while True:
            message = await self._connection.read()
            if not message:
                raise ConnectionLost("the connection ended")
            self._buffer += message
            pieces = 1 + len(message) // PIECE_BYTES + self._parse()
            if self.pieces is not None:
                delay = self.pieces.take(pieces, trio.current_time())
                if delay:
                    await trio.sleep(delay)
            while len(self._replies) > MAX_REPLIES:
                self._replies_written = trio.Event()
                await self._replies_written.wait()

    def _parse(self) -> int:
        """Handle every whole header and all data there is; return how many headers those were."""
        start, end, count = 0, len(self._buffer), 0
        with memoryview(self._buffer) as view:
            while True:
                if self._current is not None:
                    stream, size, flags = self._current
                    part = view[start : min(start + size, end)]
                    if stream is not None:
                        stream.feed(part)
                    start += len(part)
                    size -= len(part)
                    part.release()
                    if size:
                        self._current = (stream, size, flags)
                        break
                    self._current = None
                    self._end(stream, flags)
                if end - start < _HEADER.size:
                    break
                header = _HEADER.unpack_from(view, start)
                start += _HEADER.size
                self._handle(*header)
                count += 1
        del self._buffer[:start]
        return count

    def _handle(self, version: int, kind: int, flags: int, number: int, value: int) -> None:
        if version != 0 or kind > GO_AWAY:
            raise ProtocolViolation("not a header of yamux")
        if kind == GO_AWAY:
            raise ConnectionLost("the peer goes away")
        if kind == PING:
            if flags & SYN:
                self.reply(PING, ACK, 0, value)
            return
        if flags & SYN:
            self._accept(number)
        stream = self._streams.get(number)
        if kind == WINDOW_UPDATE:
            if stream is not None:
                stream.widen(value)
                self.wake()
        elif value:
            self._current = (stream, value, flags)
            return
        self._end(stream, flags)

    def _end(self, stream: Stream | None, flags: int) -> None:
        """Do what a frame's flags say once its data, if any, was taken."""
        if stream is not None and flags & RST:
            self._streams.pop(stream.number, None)
            stream.end(is_broken=True)
        elif stream is not None and flags & FIN:
            stream.end(is_broken=False)

    def _accept(self, number: int) -> None:
        is_remote = number != 0 and number % 2 != self._next % 2
        if not is_remote or number <= self._highest_remote:
            raise ProtocolViolation("a stream number that is not the peer's to give")
        self._highest_remote = number
        if len(self._streams) >= MAX_STREAMS:
            self.reply(WINDOW_UPDATE, RST, number, 0)
            return
        stream = self._streams[number] = Stream(self, number, 0)
        self.reply(WINDOW_UPDATE, ACK, number, 0)
        try:
            self._accepted_send.send_nowait(stream)
        except trio.WouldBlock:
            self.reset(stream)
