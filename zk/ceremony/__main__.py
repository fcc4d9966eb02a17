"""Decides the command that makes the DEV key again: `python -m zk.ceremony dev-key`.

Two beacons of fixed values and no contribution: the same bytes on every machine, in about two
minutes, and no secret that anybody would have to forget.
"""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from zk.ceremony.snarkjs import install_snarkjs
from zk.ceremony.steps import apply_beacon, new_ceremony
from zk.ceremony.transcript import KEY_FILE
from zk.circuit import build_r1cs
from zk.devkey import DEV_PROVING_KEY_FILE, DEV_VERIFYING_KEY_FILE
from zk.verifying_key import VerifyingKey

BEACON_NAME: Final = "AITBC DEV"
BEACONS: Final = tuple(
    hashlib.sha256(b"AITBC DEV key: phase %d, known to everyone" % phase).hexdigest()
    for phase in (1, 2)
)


def make_dev_key(target: Path, cache: Path) -> VerifyingKey:
    """Write both files of the DEV key into `target`."""
    snarkjs = install_snarkjs(cache)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "ceremony")
        new_ceremony(folder, build_r1cs(), snarkjs)
        for value in BEACONS:
            transcript = apply_beacon(
                folder, value, snarkjs, BEACON_NAME, without_contributions=True
            )
        zkey = folder.joinpath(transcript.steps[-1].file).read_bytes()
        document = folder.joinpath(KEY_FILE).read_bytes()
    key = VerifyingKey.from_snarkjs(document)
    target.joinpath(DEV_PROVING_KEY_FILE).write_bytes(zkey)
    target.joinpath(DEV_VERIFYING_KEY_FILE).write_bytes(document)
    return key


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m zk.ceremony", description=__doc__)
    parser.add_argument("command", choices=["dev-key"])
    parser.add_argument("--target", type=Path, default=Path(__file__).parents[1].joinpath("keys"))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    given = parser.parse_args(arguments)
    key = make_dev_key(given.target, given.cache.resolve())
    sys.stdout.write(f"key id {key.key_id.hex()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
