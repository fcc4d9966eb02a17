"""A stranger's program or scene on its engine, as an attempt runs it, and what it left."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from miner.engines.interface import OUTPUT, Engine, EngineResult, OnProgress

_numbers = itertools.count()


class Left(NamedTuple):
    """A run's result, and its files' contents."""

    result: EngineResult
    files: dict[str, bytes]


async def run_foreign(
    engine: Engine,
    folder: Path,
    model: str,
    params: Mapping[str, Any],
    input_: Mapping[str, Any] | None = None,
    *,
    sources: Mapping[str, Path] | None = None,
    on_progress: OnProgress = lambda progress, text: None,
    stop: asyncio.Event | None = None,
) -> Left:
    """Return what came of a content, run in a folder of its own below `folder`."""
    given = sources or {}
    content = {
        "service": engine.service,
        "model": model,
        "input": {**(input_ or {}), **dict.fromkeys(given, "file_" + "0a" * 32)},
        "params": dict(params),
    }
    task = engine.read(content)
    assert set(task.sources) == set(given)
    output = folder / f"run-{next(_numbers)}" / "output"
    output.mkdir(parents=True)
    files = {OUTPUT: output, **given}
    result = await task.run(files, on_progress, stop or asyncio.Event())
    return Left(result, {file.name: file.path.read_bytes() for file in result.files})


def make_environment(folder: Path, **packages: str) -> Path:
    """Return a virtual environment with packages of one module, which says its version."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (place,) = folder.glob("lib/python*/site-packages")
    for name, version in packages.items():
        (place / f"{name}.py").write_text(f"VERSION = {version!r}\n")
        about = place / f"{name}-{version}.dist-info"
        about.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += ["Provides-Extra: more", "Requires-Dist: absent>=2; extra == 'more'"]
        (about / "METADATA").write_text("\n".join(lines) + "\n")
    return folder
