"""Decides where proofs are made: in a process of their own, so that nothing else waits for them.

A thin shell around `zk.prover`: it spawns the process, hands it one statement at a time, starts
it again after a crash, and is the one place of this package that asks for randomness.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final, TypeAlias, TypeVar

from zk.prover import RANDOMNESS_BYTES, ProvingKey, UnsatisfiedStatement, prove
from zk.statement import PublicInputs, Witness
from zk.zkey import InvalidProvingKeyError

QUEUE_LIMIT: Final = 64
START_SECONDS: Final = 60
PROVE_SECONDS: Final = 60
STOP_SECONDS: Final = 5
ATTEMPTS: Final = 2

_READY: Final = "ready"
_PROOF: Final = "proof"
_UNSATISFIED: Final = "unsatisfied"
_INVALID_KEY: Final = "invalid key"

_Reply: TypeAlias = tuple[str, object]
_Result = TypeVar("_Result")


class ProverBusyError(Exception):
    """As many statements wait already as may; try again later."""


class ProverCrashedError(Exception):
    """The proving process died or hung, twice, over one statement."""


class ProverClosedError(Exception):
    """The prover was closed."""


class ProverProcess:
    """Proves statements one after the other in a process of its own.

    Use as `async with ProverProcess(zkey) as prover: proof = await prover.prove(...)`. All
    methods belong to one event loop.
    """

    def __init__(self, zkey: bytes, queue_limit: int = QUEUE_LIMIT) -> None:
        self._zkey = zkey
        self._queue_limit = queue_limit
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._closed = False
        self._exchanges: set[asyncio.Task[_Reply]] = set()

    async def __aenter__(self) -> "ProverProcess":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def process_id(self) -> int | None:
        """Of the running process; it changes with each restart."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process and wait until it has read the key.

        Raises:
            InvalidProvingKeyError: the key is refused.
            ProverCrashedError: the process does not come up.
        """
        async with self._turn:
            await self._run(self._start)

    async def prove(self, public: PublicInputs, witness: Witness) -> bytes:
        """A verified proof of 192 bytes.

        Raises:
            UnsatisfiedStatement: the statement does not hold.
            ProverBusyError: the queue is full.
            ProverCrashedError: the process died or hung over this statement, twice.
            ProverClosedError: closed before or meanwhile.
        """
        if self._closed:
            raise ProverClosedError
        if self._waiting >= self._queue_limit:
            raise ProverBusyError
        # A task of its own: a caller that gives up must not leave an unread reply in the pipe.
        exchange = asyncio.create_task(self._take_turn(public, witness))
        self._waiting += 1
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._finish)
        kind, content = await asyncio.shield(exchange)
        if kind == _UNSATISFIED:
            assert isinstance(content, tuple)
            raise UnsatisfiedStatement(content)
        if kind == _INVALID_KEY:
            raise InvalidProvingKeyError(str(content))
        assert kind == _PROOF and isinstance(content, bytes)
        return content

    async def close(self) -> None:
        """End the process; statements that still wait raise ProverClosedError."""
        self._closed = True
        async with self._turn:
            await self._run(self._stop)
        await asyncio.gather(*self._exchanges, return_exceptions=True)

    def _finish(self, exchange: asyncio.Task[_Reply]) -> None:
        self._waiting -= 1
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # retrieved here too: the caller may have given up

    async def _take_turn(self, public: PublicInputs, witness: Witness) -> _Reply:
        async with self._turn:
            for _ in range(ATTEMPTS):
                if self._closed:
                    raise ProverClosedError
                try:
                    return await self._run(lambda: self._exchange(public, witness))
                except (EOFError, OSError, TimeoutError):
                    await self._run(self._stop)
            raise ProverCrashedError

    async def _run(self, call: Callable[[], _Result]) -> _Result:
        return await asyncio.to_thread(call)

    # What follows blocks and runs in a thread, by one caller at a time.

    def _exchange(self, public: PublicInputs, witness: Witness) -> _Reply:
        if self._connection is None:
            self._start()
        assert self._connection is not None
        self._connection.send((public, witness))
        return _receive(self._connection, PROVE_SECONDS)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), name="aitbc-prover", daemon=True)
        process.start()
        theirs.close()
        self._process, self._connection = process, ours
        try:
            # Not as an argument: `start` would wait forever for a child that died before reading.
            ours.send_bytes(self._zkey)
            kind, content = _receive(ours, START_SECONDS)
        except (EOFError, OSError, TimeoutError) as error:
            self._stop()
            raise ProverCrashedError("the proving process did not start") from error
        if kind != _READY:
            self._stop()
            raise InvalidProvingKeyError(str(content))

    def _stop(self) -> None:
        """Closing the pipe is the request to end; what does not follow is killed."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.join(STOP_SECONDS)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process.close()
        self._process = self._connection = None


def _receive(connection: Connection, seconds: int) -> _Reply:
    if not connection.poll(seconds):
        raise TimeoutError
    kind, content = connection.recv()
    return kind, content


def serve(connection: Connection) -> None:
    """The process: read the key, then prove until the pipe is closed."""
    # An interrupt at the terminal reaches the whole group; the parent decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        key = ProvingKey.load(connection.recv_bytes())
    except InvalidProvingKeyError as error:
        connection.send((_INVALID_KEY, str(error)))
        return
    connection.send((_READY, None))
    while True:
        try:
            public, witness = connection.recv()
        except EOFError:
            return
        connection.send(_answer(key, public, witness))


def _answer(key: ProvingKey, public: PublicInputs, witness: Witness) -> _Reply:
    try:
        return _PROOF, prove(key, public, witness, os.urandom(RANDOMNESS_BYTES))
    except UnsatisfiedStatement as error:
        return _UNSATISFIED, error.rules
    except InvalidProvingKeyError as error:
        return _INVALID_KEY, str(error)
