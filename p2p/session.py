"""One session while it stands: frames in and out, questions both ways, pings, and how it ends.

Rules W6 to W8. A session ends by itself when the peer is silent, takes nothing, or breaks a rule;
nothing that a peer sends raises past it.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

import trio
from msgspec import Struct

from ledger import codec
from ledger.rejection import Rejected
from p2p.backpressure import Backlog, Pool
from p2p.bridge import Answered, Report, Written
from p2p.counters import Counters
from p2p.directory import MAX_RECORD_BYTES, PeerRecord
from p2p.frames import (
    MAX_GOODBYE_BYTES,
    Control,
    ControlKind,
    FrameSplitter,
    decode_control,
    encode_control,
    encode_frame,
)
from p2p.guard import GuardedConnection
from p2p.interface import (
    MAX_ANSWER_BYTES,
    MAX_QUESTION_BYTES,
    Asked,
    Channel,
    Joined,
    Left,
    PeerStatus,
    Received,
    Session,
)
from p2p.limits import (
    CONTROL,
    FRAME_LIMITS,
    LANE_NAMES,
    LONG_FRAME_SECONDS,
    MAX_QUESTIONS,
    OUTGOING_BYTES,
    SILENCE_SECONDS,
    STALL_SECONDS,
    WINDOWS,
    Lane,
    PeerLimits,
    RateLimiter,
    TokenBucket,
    compute_cost,
)
from p2p.multiplexer import ConnectionLost, Multiplexer, Stream

PRIORITIES: dict[Lane, int] = {
    Channel.VOTES: 0,
    CONTROL: 1,
    Channel.TRANSACTIONS: 2,
    Channel.BLOCKS: 3,
}
GOODBYE_SECONDS = 0.5
WRITTEN_LOTS = 16
"""In how many parts of a full queue the node hears that it has been written."""
MAX_PINGS = 8
"""Pings whose answer is still of interest."""


class Outlet:
    """The sending side of a stream: says when what was queued has gone."""

    def __init__(self, stream: Stream, on_gone: Callable[[int], None]) -> None:
        self._stream = stream
        self._on_gone = on_gone
        self._queued: deque[tuple[int, int]] = deque()
        self._gone = 0
        stream.on_written = self._note_written

    def push(self, frame: bytes, cost: int = 0) -> None:
        """Queue a frame, which was accounted for at this cost."""
        self._queued.append((len(frame), cost))
        self._stream.push(frame)

    def count_unsent(self) -> int:
        """Return how many of the node's frames have not gone."""
        return sum(cost > 0 for _, cost in self._queued)

    def _note_written(self, size: int) -> None:
        self._gone += size
        cost = 0
        while self._queued and self._queued[0][0] <= self._gone:
            length, frame_cost = self._queued.popleft()
            self._gone -= length
            cost += frame_cost
        if cost:
            self._on_gone(cost)


class Link(Struct, frozen=True):
    """What a session runs on."""

    raw: GuardedConnection
    streams: Multiplexer
    lanes: dict[Lane, Stream]


class LiveSession:
    """A session and its streams."""

    def __init__(
        self,
        session: Session,
        record: PeerRecord,
        link: Link,
        limits: tuple[PeerLimits, Pool],
        report: Callable[[Report], None],
        counters: Counters,
    ) -> None:
        self.session = session
        self.record = record
        self.on_record: Callable[[PeerRecord], None] | None = None
        self.companions: tuple[Callable[[], Awaitable[None]], ...] = ()
        """What else runs on the connection while the session stands; it raises nothing."""
        self.streams = link.streams
        self._raw = link.raw
        self._lanes = link.lanes
        self._report = report
        self._counters = counters
        self._outlets: dict[Lane, Outlet] = {}
        self._written = dict.fromkeys(self._lanes, 0)
        for lane, stream in self._lanes.items():
            stream.priority = PRIORITIES[lane]
            stream.enlarge(WINDOWS[lane])
            self._outlets[lane] = Outlet(stream, partial(self._note_written, lane))
        self._backlogs = {lane: Backlog() for lane in self._lanes}
        self.set_limits(*limits)
        self._asked: set[int] = set()
        self._questions: set[int] = set()
        self._pings: dict[int, float] = {}
        self._next_ping = 0
        self._latency: float | None = None
        self._began = trio.current_time()
        self.finished = trio.Event()
        self._over = trio.Event()
        self._reason = ""

    def set_limits(self, limits: PeerLimits, pool: Pool) -> None:
        """Hold the peer to other limits from now on."""
        now = trio.current_time()
        self._pool = pool
        self.streams.pieces = TokenBucket(limits.pieces, 2 * limits.pieces, now)
        self._limiters = {lane: RateLimiter(limits.rates[lane], now) for lane in self._lanes}
        for lane, limit in limits.incoming_bytes.items():
            self._backlogs[lane].set_limit(limit)

    async def run(self) -> None:
        """Serve until the session ends; it is reported before and after."""
        self._report(Joined(self.session))
        try:
            async with trio.open_nursery() as nursery:
                for lane, stream in self._lanes.items():
                    nursery.start_soon(self._read, lane, stream)
                for companion in self.companions:
                    nursery.start_soon(companion)
                await self._over.wait()
                with trio.move_on_after(GOODBYE_SECONDS):
                    await self.streams.flush()
                nursery.cancel_scope.cancel()
        finally:
            unsent = sum(outlet.count_unsent() for outlet in self._outlets.values())
            if unsent:
                self._counters.add("dropped", "unsent_at_end", unsent)
            for question in self._asked:
                self._report(Answered(self.session.number, question, None, "the session is over"))
            self._report(Left(self.session.number, self._reason or "the connection was cut"))
            self.finished.set()

    def end(self, label: str, reason: str, *, is_said: bool = True) -> None:
        """End the session, once; the first reason counts, and the peer is told unless it knows."""
        if self._over.is_set():
            return
        self._reason = reason
        self._counters.add("ended", label)
        if is_said:
            text = reason.encode()[:MAX_GOODBYE_BYTES]
            self._push_control(ControlKind.GOODBYE, 0, text)
        self._over.set()

    def send(self, lane: Lane, data: bytes) -> None:
        """Queue a frame."""
        self._counters.add("frames_sent", LANE_NAMES[lane])
        self._counters.add("bytes_sent", LANE_NAMES[lane], len(data))
        self._outlets[lane].push(encode_frame(data), compute_cost(data))

    def ask(self, question: int, data: bytes) -> None:
        """Send a question; its answer, or that there is none, will be reported."""
        self._asked.add(question)
        self._push_control(ControlKind.QUESTION, question, data, compute_cost(data))

    def forget(self, question: int) -> None:
        """Let a late answer be dropped."""
        self._asked.discard(question)

    def answer(self, question: int, data: bytes | None) -> None:
        """Answer a question of the peer's, if it is still under way."""
        is_open = question in self._questions
        self._questions.discard(question)
        cost = 0 if data is None else compute_cost(data)
        if data is not None and is_open and len(data) <= MAX_ANSWER_BYTES:
            self._push_control(ControlKind.ANSWER, question, data, cost)
            return
        if cost:
            self._note_written(CONTROL, cost)
        if is_open:
            self._push_control(ControlKind.DECLINED, question)

    def tell(self, record: PeerRecord) -> None:
        """Tell the peer where another one can be reached."""
        self._push_control(ControlKind.PEER, 0, codec.encode(record))

    def take(self, lane: Lane, cost: int) -> None:
        """Note what the node has taken."""
        self._backlogs[lane].release(cost)

    def check(self, now: float) -> None:
        """Ping, once a second, and end a session whose peer is silent or takes nothing."""
        for lane in self._lanes:
            self._report_written(lane)
        stalled = self.streams.find_stall()
        if now - self._raw.heard_at > SILENCE_SECONDS:
            self.end("silent", f"no byte for {SILENCE_SECONDS:.0f} s", is_said=False)
        elif stalled is not None and now - stalled > STALL_SECONDS:
            self.end("stalled", f"nothing taken for {STALL_SECONDS:.0f} s", is_said=False)
        elif not self._lanes[CONTROL].has_outgoing:
            self._next_ping = (self._next_ping + 1) % 2**32
            while len(self._pings) >= MAX_PINGS:
                del self._pings[next(iter(self._pings))]
            self._pings[self._next_ping] = now
            self._push_control(ControlKind.PING, self._next_ping)

    def measure(self, now: float) -> PeerStatus:
        """Return what an operator may know."""
        return PeerStatus(
            session=self.session,
            latency_ms=None if self._latency is None else self._latency * 1000,
            connected_seconds=now - self._began,
            bytes_received=self._raw.bytes_read,
            bytes_sent=self._raw.bytes_written,
        )

    def _note_written(self, lane: Lane, cost: int) -> None:
        """Tell the node in lots what has gone, since each telling wakes its event loop."""
        self._written[lane] += cost
        if self._written[lane] >= OUTGOING_BYTES[lane] // WRITTEN_LOTS:
            self._report_written(lane)

    def _report_written(self, lane: Lane) -> None:
        if self._written[lane]:
            self._report(Written(self.session.number, lane, self._written[lane]))
            self._written[lane] = 0

    def _push_control(
        self, kind: ControlKind, number: int, data: bytes = b"", cost: int = 0
    ) -> None:
        self._outlets[CONTROL].push(encode_control(kind, number, data), cost)

    async def _read(self, lane: Lane, stream: Stream) -> None:
        """Read a stream until the session ends; whatever goes wrong ends it."""
        try:
            await self._read_frames(lane, stream)
        except ConnectionLost as error:
            self.end("lost", str(error), is_said=False)
        except trio.TooSlowError:
            self.end("slow_frame", f"a frame that takes over {LONG_FRAME_SECONDS:.0f} s")
        except Rejected as error:
            self.end(f"violation_{error.reason.name.lower()}", error.detail)

    async def _read_frames(self, lane: Lane, stream: Stream) -> None:
        splitter = FrameSplitter(FRAME_LIMITS[lane])
        while True:
            pool = self._pool
            reserved = await pool.reserve(splitter.missing)
            try:
                with trio.fail_after(LONG_FRAME_SECONDS if reserved else inf):
                    frames, size = await _receive(stream, splitter, is_long=bool(reserved))
            finally:
                pool.release(reserved)
            for frame in frames:
                self._counters.add("frames_received", LANE_NAMES[lane])
                if lane == CONTROL:
                    self._handle_control(decode_control(frame))
                else:
                    self._backlogs[lane].add(compute_cost(frame))
                    self._report(Received(self.session.number, Channel(lane), frame))
            self._counters.add("bytes_received", LANE_NAMES[lane], size)
            await self._backlogs[lane].wait_for_room()
            delay = self._limiters[lane].take(len(frames), size, trio.current_time())
            if delay:
                self._counters.add("slowed", LANE_NAMES[lane])
                await trio.sleep(delay)

    def _handle_control(self, control: Control) -> None:
        match control.kind:
            case ControlKind.PING:
                self._push_control(ControlKind.PONG, control.number)
            case ControlKind.PONG:
                sent = self._pings.pop(control.number, None)
                if sent is not None:
                    self._latency = trio.current_time() - sent
            case ControlKind.QUESTION:
                self._handle_question(control.number, control.data)
            case ControlKind.ANSWER:
                self._handle_answer(control.number, control.data)
            case ControlKind.DECLINED:
                self._handle_answer(control.number, None)
            case ControlKind.GOODBYE:
                text = control.data.decode(errors="replace")
                self.end("goodbye", f"the peer says: {text}", is_said=False)
            case ControlKind.PEER:
                record = codec.decode(control.data, PeerRecord, MAX_RECORD_BYTES)
                if self.on_record is not None:
                    self.on_record(record)

    def _handle_question(self, number: int, data: bytes) -> None:
        if len(data) > MAX_QUESTION_BYTES:
            self.end("violation_too_large", f"a question of {len(data)} bytes")
        elif len(self._questions) >= MAX_QUESTIONS or number in self._questions:
            self._counters.add("dropped", "question_over_limit")
            self._push_control(ControlKind.DECLINED, number)
        else:
            self._questions.add(number)
            self._backlogs[CONTROL].add(compute_cost(data))
            self._report(Asked(self.session.number, number, data))

    def _handle_answer(self, number: int, data: bytes | None) -> None:
        if number not in self._asked:
            self._counters.add("dropped", "late_answer")
            return
        self._asked.discard(number)
        reason = "" if data is not None else "the peer declined"
        self._report(Answered(self.session.number, number, data, reason))


async def _receive(
    stream: Stream, splitter: FrameSplitter, *, is_long: bool
) -> tuple[list[bytes], int]:
    """Return the frames of the next bytes and how many those were; a long frame is waited for."""
    size = 0
    while True:
        data = await stream.receive()
        size += len(data)
        frames = splitter.feed(data)
        if frames or not is_long:
            return frames, size
