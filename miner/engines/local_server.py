"""A local model's own process: loads it, then answers one request at a time, line by line.

Reads JSON lines from standard input: first the settings, then `{"run": request}` and, in the middle
of a run, `{"stop": true}`. Writes `{"progress": n}` and then the answer, or why there is none. Ends
when its input does.
"""

import importlib
import json
import os
import queue
import resource
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from miner.child import die_with_parent
from miner.engines.interface import InputInvalidError
from miner.gpu.device import DeviceMissingError

RUNNERS: Final = frozenset({
    "miner.engines.diffusion_model",
    "miner.engines.embedding_model",
    "miner.engines.image_model",
    "miner.engines.speech_model",
})  # fmt: skip


class Made(NamedTuple):
    """What a run made; `answer` None where it was stopped before there was anything."""

    answer: dict[str, Any] | None
    units: int
    is_cut: bool = False


OnStep = Callable[[int], bool]
"""Called with the progress (0 to 99) between steps; False asks the run to end."""


class LoadedModel(Protocol):
    """A model in memory."""

    def describe(self) -> dict[str, str]:
        """Return `engine`, `options` and `device`: `cuda`, or the processor's name."""

    def run(self, request: Mapping[str, Any], on_step: OnStep) -> Made:
        """Return what the model makes of a request. Raises `InputInvalidError`."""


def describe_processor() -> str:
    """Return the processor's name, as the kernel says it."""
    with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as lines:
        for line in lines:
            if line.startswith("model name"):
                return "CPU " + line.partition(":")[2].strip()
    return "CPU " + os.uname().machine


def main() -> None:
    """Serve until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    die_with_parent(settings["parent"])
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))  # an engine writes no file
    # A library that prints would spoil the messages.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    runner = settings["runner"]
    assert runner in RUNNERS
    try:
        model: LoadedModel = importlib.import_module(runner).load(settings["options"])
    except DeviceMissingError as error:
        sys.exit(str(error))

    def write(message: dict[str, Any]) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    stopped = threading.Event()
    write(model.describe())
    threading.Thread(target=_listen, args=(requests, stopped), daemon=True).start()

    def on_step(progress: int) -> bool:
        write({"progress": progress})
        return not stopped.is_set()

    while True:
        write(_answer(model, requests.get(), on_step))


def _listen(requests: queue.Queue[dict[str, Any]], stopped: threading.Event) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "run" in message:
            stopped.clear()
            requests.put(message["run"])
        else:
            stopped.set()
    # Native threads may be in the middle of a step; nothing of theirs needs saving.
    os._exit(0)


def _answer(model: LoadedModel, request: dict[str, Any], on_step: OnStep) -> dict[str, Any]:
    try:
        made = model.run(request, on_step)
    except InputInvalidError as error:
        return {"invalid": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever fails in a library costs one job
        return {"failed": f"{type(error).__name__}: {error}"[:500]}
    return {"answer": made.answer, "units": made.units, "is_cut": made.is_cut}


if __name__ == "__main__":
    main()
