"""The measured ONNX model is one that ONNX Runtime takes, and computes what it says."""

import hashlib
from typing import Any

import numpy as np
import onnxruntime

from miner.bench_model import IDENTITY, INPUT, SIDE, build_model


def test_it_is_a_model_whose_hash_is_its_name() -> None:
    data = build_model()
    assert f"bench@{hashlib.sha256(data).hexdigest()}" == IDENTITY
    session: Any = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    vector = np.arange(SIDE, dtype=np.float32)
    (found,) = session.run(None, {INPUT: vector})
    assert np.allclose(found, vector.mean())
    assert found.shape == (SIDE,)
