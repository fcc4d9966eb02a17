"""Decides what is told of a text whose engine was lost in the middle and that is made again.

What has been sent cannot be taken back, and nobody may read it twice. The new text is held against
the old one: what is the same is left out, what follows goes on. A text that differs ends the job:
a mixture of two answers is neither, and with another lease another text begins.
"""

from miner.engines.interface import EngineFailedError, OnProgress


class GrowingText:
    """The text of one job as its reader has it, over all tries."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._told = ""
        self._try_length = 0
        """Characters of this try's text; as far as `_told` goes they are the same."""

    def begin_again(self) -> None:
        """Note that the next piece is the first of a new try."""
        self._try_length = 0

    def add(self, progress: int, piece: str) -> None:
        """Pass on what is new of the next piece. Raises `EngineFailedError` for another text."""
        known = self._told[self._try_length : self._try_length + len(piece)]
        if not piece.startswith(known):
            raise EngineFailedError(
                "a node was lost, and the text that another one makes is not the one begun"
            )
        new = piece[len(known) :]
        self._try_length += len(piece)
        self._told += new
        self._on_progress(progress, new)

    def finish(self) -> None:
        """Check that this try has all that was told. Raises `EngineFailedError`."""
        if self._try_length < len(self._told):
            raise EngineFailedError(
                "a node was lost, and the text that another one makes ends before the one begun"
            )
