"""The reference backend leaves the process as safe as it found it."""

import json
import sys

import pytest

from zk.backend_py_ecc import PY_ECC


def test_deep_json_is_an_error_and_no_crash() -> None:
    assert PY_ECC is not None
    assert sys.getrecursionlimit() <= 1_000
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000)
