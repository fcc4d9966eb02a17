"""The real snarkjs, installed once into the repository's cache."""

from pathlib import Path

import pytest

from zk.ceremony.snarkjs import Snarkjs, install_snarkjs

CACHE = Path(__file__).parents[3] / ".cache"


@pytest.fixture(scope="session")
def snarkjs() -> Snarkjs:
    return install_snarkjs(CACHE)
