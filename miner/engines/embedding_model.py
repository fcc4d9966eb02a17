"""A sentence encoder in memory: BERT's layers in numpy, the mean of the last one, of length 1.

Texts are encoded one at a time: in a batch the last bits of one would depend on the others.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer

from miner.engines.interface import InputInvalidError
from miner.engines.local_server import Made, OnStep, describe_processor

DECIMALS: Final = 7
"""Of each number; float32 holds no more."""

Array = NDArray[Any]
"""Of float32; numpy has no types for what becomes of them."""


class EmbeddingModel:
    """Weights, tokenizer and shape of one encoder, from a folder in Hugging Face's layout."""

    def __init__(self, folder: Path, threads: int) -> None:
        config = json.loads((folder / "config.json").read_text())
        assert (config["model_type"], config["hidden_act"]) == ("bert", "gelu")
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._most_tokens: int = config["max_position_embeddings"]
        self._threads = threads
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # The file asks for truncation; a text that is too long is refused instead.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        with safe_open(folder / "model.safetensors", framework="numpy") as weights:
            self._weights: dict[str, Array] = {
                name: weights.get_tensor(name).astype(np.float32)
                for name in weights.keys()  # noqa: SIM118 - a file, which cannot be iterated over
                if not name.endswith("position_ids")
            }

    def describe(self) -> dict[str, str]:
        """Return what encodes."""
        return {
            "engine": f"aitbc-numpy-bert 1 (numpy {np.__version__})",
            "options": f"float32, threads {self._threads}",
            "device": describe_processor(),
        }

    def run(self, request: Mapping[str, Any], on_step: OnStep) -> Made:
        """Return a vector for each text, in their order."""
        texts: list[str] = request["texts"]
        encoded = [self._tokenizer.encode(text).ids for text in texts]
        for number, ids in enumerate(encoded):
            if len(ids) > self._most_tokens:
                raise InputInvalidError(
                    f"text {number} has {len(ids)} tokens, the model takes {self._most_tokens}"
                )
        total = sum(map(len, encoded))
        vectors: list[list[float]] = []
        done = 0
        for ids in encoded:
            if not on_step(100 * done // total):
                break
            vectors.append([round(float(value), DECIMALS) for value in self._encode(ids)])
            done += len(ids)
        answer = {
            "embeddings": vectors,
            "usage": {"prompt_tokens": done, "total_tokens": done},
        }
        return Made(answer if done else None, done, is_cut=done < total)

    def _encode(self, ids: list[int]) -> Array:
        weights = self._weights
        state = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][: len(ids)]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        state = self._normalise(state, "embeddings.LayerNorm")
        for number in range(self._layers):
            layer = f"encoder.layer.{number}"
            attended = self._apply(self._attend(state, layer), f"{layer}.attention.output.dense")
            state = self._normalise(attended + state, f"{layer}.attention.output.LayerNorm")
            inner = compute_gelu(self._apply(state, f"{layer}.intermediate.dense"))
            outer = self._apply(inner, f"{layer}.output.dense")
            state = self._normalise(outer + state, f"{layer}.output.LayerNorm")
        mean: Array = state.mean(axis=0)
        unit: Array = mean / np.linalg.norm(mean)
        return unit

    def _attend(self, state: Array, layer: str) -> Array:
        length, width = state.shape
        query, key, value = (
            self._apply(state, f"{layer}.attention.self.{part}")
            .reshape(length, self._heads, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(width // self._heads))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Array = (scores @ value).transpose(1, 0, 2).reshape(length, width)
        return mixed

    def _apply(self, state: Array, name: str) -> Array:
        return state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normalise(self, state: Array, name: str) -> Array:
        centred: Array = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        scaled: Array = centred / spread * self._weights[f"{name}.weight"]
        return scaled + self._weights[f"{name}.bias"]


def compute_gelu(value: Array) -> Array:
    """Return x · Φ(x), by Abramowitz and Stegun's 7.1.26: off by less than float32 shows."""
    scaled = np.abs(value) / np.float32(math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    terms = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    series = np.zeros_like(t)
    for term in reversed(terms):
        series = (series + np.float32(term)) * t
    erf = np.sign(value) * (1 - series * np.exp(-scaled * scaled))
    return value * (1 + erf) / 2


def load(options: Mapping[str, Any]) -> EmbeddingModel:
    """Return the encoder whose files lie in the folder of `path`."""
    return EmbeddingModel(Path(options["path"]).parent, options["threads"])
