"""Trains the small image model and writes its weights: `python -m scripts.train_image_model FILE`.

Its pictures are drawn by rule, so nobody's work is in them: one shape of one colour on another, at
any place and of any size. A minute on one core; the seed is fixed, the last bits are the machine's.
"""

import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save_file

from miner.engines.image_network import (
    COLOURS,
    CONDITIONS,
    LAYERS,
    PIXELS,
    SHAPES,
    SIDE,
    WORDS,
    Array,
    encode_time,
    get_levels,
)

WIDTH: Final = 320
BATCH: Final = 256
STEPS: Final = 2_600
RATE: Final = 2e-3
DROPPED: Final = 0.12
"""How often a word is kept from the network, so that it can draw without it."""
PALETTE: Final = np.array(
    [
        (220, 30, 30), (245, 140, 20), (250, 220, 40), (40, 160, 60), (40, 80, 220), (130, 50, 170),
        (250, 150, 190), (130, 80, 40), (128, 128, 128), (15, 15, 15), (250, 250, 250),
    ],
    np.float32,
) / 127.5 - 1  # fmt: skip


def render(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Return pictures, a row each, and the words that describe them."""
    shape = generator.integers(len(SHAPES), size=count)
    colour = generator.integers(len(COLOURS), size=count)
    other = (colour + generator.integers(1, len(COLOURS), size=count)) % len(COLOURS)
    axis = np.arange(SIDE, dtype=np.float32)
    centre = 7.5 + generator.uniform(-1.5, 1.5, (2, count, 1, 1)).astype(np.float32)
    size = generator.uniform(4.2, 5.8, (count, 1, 1)).astype(np.float32)
    x, y = axis[None, None, :] - centre[0], axis[None, :, None] - centre[1]
    round_ = np.hypot(x, y)
    inner, outer = np.minimum(abs(x), abs(y)), np.maximum(abs(x), abs(y))
    distances = np.stack([
        round_ - size,
        outer - size * 0.85,
        np.maximum(abs(x) * 0.894 - (y + size) * 0.447, y - size * 0.8),
        (abs(x) + abs(y)) * 0.707 - size * 0.78,
        np.maximum(inner - size * 0.3, outer - size),
        abs(round_ - size * 0.78) - size * 0.24,
    ])  # fmt: skip
    distance = distances[shape, np.arange(count)]
    mask = np.clip(0.5 - distance, 0, 1)[..., None]
    picture = mask * PALETTE[colour][:, None, None] + (1 - mask) * PALETTE[other][:, None, None]
    words = np.zeros((count, WORDS), np.float32)
    rows = np.arange(count)
    start = 0
    for chosen, known in ((shape, SHAPES), (colour, COLOURS), (other, COLOURS)):
        kept = generator.random(count) >= DROPPED
        words[rows[kept], start + chosen[kept]] = 1
        start += len(known)
    words[generator.random(count) < DROPPED] = 0
    return picture.reshape(count, PIXELS).astype(np.float32), words


def make_weights(generator: np.random.Generator) -> dict[str, Array]:
    """Return weights to begin with."""
    shapes = {"in": (PIXELS, WIDTH), "in_condition": (CONDITIONS, WIDTH), "out": (WIDTH, PIXELS)}
    for layer in range(LAYERS):
        shapes[f"layer{layer}"] = (WIDTH, WIDTH)
        shapes[f"layer{layer}_condition"] = (CONDITIONS, WIDTH)
    weights = {
        name: (generator.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in shapes.items()
    }
    return {**weights, "out_bias": np.zeros(PIXELS, np.float32)}


def compute_gradients(
    weights: dict[str, Array], noisy: Array, condition: Array, target: Array
) -> tuple[float, dict[str, Array]]:
    """Return the loss and its gradients: `predict` of the network, and the way back."""
    inner = [noisy @ weights["in"] + condition @ weights["in_condition"]]
    hidden = [_silu(inner[0])[0]]
    for layer in range(LAYERS):
        inner.append(
            hidden[-1] @ weights[f"layer{layer}"] + condition @ weights[f"layer{layer}_condition"]
        )
        hidden.append(hidden[-1] + _silu(inner[-1])[0])
    error = hidden[-1] @ weights["out"] + weights["out_bias"] - target
    back = error * np.float32(2 / error.size)
    found = {"out": hidden[-1].T @ back, "out_bias": back.sum(axis=0)}
    back = back @ weights["out"].T
    for layer in reversed(range(LAYERS)):
        through = back * _silu(inner[layer + 1])[1]
        found[f"layer{layer}"] = hidden[layer].T @ through
        found[f"layer{layer}_condition"] = condition.T @ through
        back = back + through @ weights[f"layer{layer}"].T
    through = back * _silu(inner[0])[1]
    found["in"], found["in_condition"] = noisy.T @ through, condition.T @ through
    return float((error**2).mean()), found


def _silu(value: Array) -> tuple[Array, Array]:
    gate = 1 / (1 + np.exp(-value))
    return value * gate, gate * (1 + value * (1 - gate))


def train(seed: int = 1) -> dict[str, Array]:
    """Return the running mean of the weights after Adam's last steps."""
    generator = np.random.default_rng(seed)
    weights = make_weights(generator)
    mean = {name: value.copy() for name, value in weights.items()}
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    started = time.monotonic()
    for step in range(1, STEPS + 1):
        picture, words = render(generator, BATCH)
        moment = generator.random(BATCH, dtype=np.float32)
        signal, noise = get_levels(moment)
        noisy = signal[:, None] * picture
        noisy += noise[:, None] * generator.standard_normal(picture.shape, dtype=np.float32)
        condition = np.concatenate([words, encode_time(moment)], axis=1)
        loss, gradients = compute_gradients(weights, noisy, condition, picture)
        rate = RATE * min(1, step / 100) * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        for name, gradient in gradients.items():
            first[name] += 0.1 * (gradient - first[name])
            second[name] += 0.01 * (gradient**2 - second[name])
            scaled = first[name] / (1 - 0.9**step)
            scaled /= np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8
            weights[name] -= np.float32(rate) * scaled
            mean[name] += min(0.01, 1 / step) * (weights[name] - mean[name])
        if step % 200 == 0:
            _say(f"{step:5d}  loss {loss:.4f}  {time.monotonic() - started:.0f} s")
    return mean


def main() -> None:
    """Train, and write what came of it in half precision."""
    weights = train()
    halves = {name: value.astype(np.float16) for name, value in sorted(weights.items())}
    path = Path(sys.argv[1])
    save_file(halves, path, metadata={"format": "np"})
    _say(f"{path}: {path.stat().st_size} bytes")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
