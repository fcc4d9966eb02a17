"""One job's content on one engine, as an attempt runs it."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from miner.engines.interface import OUTPUT, Engine, EngineResult
from miner.models import ModelStore, choose_folder, load_packaged_lock

FOX = Path(__file__).parent.parent / "fixtures" / "audio" / "fox.wav"
"""Nine words, spoken by flite's voice slt: "The quick brown fox jumps over the lazy dog."."""


def fetch(name: str) -> tuple[str, Path]:
    """Return a model's identity and where its weights lie, fetching them once."""
    store = ModelStore(choose_folder(), load_packaged_lock())
    model = store.lock.find(name)
    assert model is not None
    return model.identity, store.fetch(name)


async def run(
    engine: Engine,
    input_: Mapping[str, Any],
    params: Mapping[str, Any] | None = None,
    *,
    files: Mapping[str, Path] | None = None,
    on_progress: Callable[[int, str], None] = lambda progress, text: None,
    stop: asyncio.Event | None = None,
) -> EngineResult:
    """Return what an engine makes of a content."""
    task = engine.read({"input": input_, "params": params or {}})
    with tempfile.TemporaryDirectory() as folder:
        given = {OUTPUT: Path(folder), **(files or {})}
        return await task.run(given, on_progress, stop or asyncio.Event())
