"""How the demonstration looks: numbered steps on stdout, rich on a terminal and plain elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aitbc.cli.demo.checks import CheckFailed

_PLAIN_WIDTH: Final = 120


class Show:
    """Prints steps, facts and checks. A check that does not hold ends the demonstration."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _PLAIN_WIDTH
        self._console = Console(width=width, highlight=False)
        self._begin = time.monotonic()
        self._step = 0
        self.checks = 0

    @property
    def seconds(self) -> float:
        """How long the demonstration has run."""
        return time.monotonic() - self._begin

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        line = Text(f"\n{self._step:2} ", style="bold cyan")
        line.append(title, style="bold")
        line.append(f"  {self.seconds:.1f} s", style="dim")
        self._console.print(line)

    def fact(self, name: str, value: object) -> None:
        """Print one thing that was found."""
        line = Text("   ")
        line.append(f"{name:<22} ", style="dim")
        line.append(str(value))
        self._console.print(line)

    def check(self, is_so: bool, sentence: str) -> None:
        """Print that something holds. Raises `CheckFailed` when it does not."""
        if not is_so:
            self._console.print(Text(f"   ✘ {sentence}", style="bold red"))
            raise CheckFailed(f"this does not hold: {sentence}")
        self.checks += 1
        line = Text("   ✔ ", style="green")
        line.append(sentence)
        self._console.print(line)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Print a small table; every column but the first is of numbers."""
        table = Table(box=None, pad_edge=False)
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left", style="")
        for row in rows:
            table.add_row(*row)
        self._console.print(table, new_line_start=True)

    def begin_text(self) -> None:
        """Begin text that comes piece by piece."""
        self._console.print(Text("   │ ", style="magenta"), end="")

    def text(self, piece: str) -> None:
        """Print the next piece, in the same paragraph."""
        self._console.print(
            Text(piece.replace("\n", "\n   │ "), style="magenta"), end="", soft_wrap=True
        )

    def end_text(self) -> None:
        """End the paragraph."""
        self._console.print()

    def end(self, sentence: str) -> None:
        """Print the last line."""
        self._console.print(Text(f"\n{sentence}", style="bold green"))

    @contextmanager
    def waiting(self, what: str) -> Iterator["Waiting"]:
        """Show that something is waited for, and how far it is."""
        with Waiting(what) as waiting:
            yield waiting


class Waiting:
    """A line on stderr about what is waited for; a spinner on a terminal."""

    def __init__(self, what: str) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status(what)
        self._what = what
        self._said = ""

    def __enter__(self) -> "Waiting":
        if self._console.is_terminal:
            self._status.start()
        else:
            self._console.print(f"   … {self._what}")
        return self

    def __exit__(self, *failure: object) -> None:
        if self._console.is_terminal:
            self._status.stop()

    def say(self, detail: str) -> None:
        """Show how far it is; on no terminal each detail is one line, once."""
        if detail == self._said:
            return
        self._said = detail
        if self._console.is_terminal:
            self._status.update(f"{self._what}: {detail}")
        else:
            self._console.print(f"   … {detail}")
