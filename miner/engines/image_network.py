"""Decides how the small image model draws: its words, its network, its way out of the noise.

A denoiser of four layers on 16 × 16 pixels, conditioned on a shape, its colour and the colour
behind it; classifier-free guidance, deterministic (DDIM) steps. `scripts/train_image_model.py`
trains it.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 16
PIXELS: Final = SIDE * SIDE * 3
SHAPES: Final = ("circle", "square", "triangle", "diamond", "cross", "ring")
COLOURS: Final = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "grey", "black", "white",
)  # fmt: skip
OTHER_WORDS: Final = {
    "disc": "circle", "disk": "circle", "dot": "circle", "ball": "circle", "sun": "circle",
    "box": "square", "cube": "square", "rhombus": "diamond", "plus": "cross", "donut": "ring",
    "violet": "purple", "gray": "grey",
}  # fmt: skip
WORDS: Final = len(SHAPES) + 2 * len(COLOURS)
FREQUENCIES: Final = 8
CONDITIONS: Final = WORDS + 2 * FREQUENCIES
LAYERS: Final = 3
GUIDANCE: Final = 2.0
FIRST_TIME: Final = 0.995
"""Where drawing begins; at 1 there is no signal at all."""

Array = NDArray[Any]
"""Of float32; numpy has no types for what becomes of them."""
Weights = Mapping[str, Array]


class Wanted(NamedTuple):
    """What a prompt asks for; None is left to chance."""

    shape: str | None
    colour: str | None
    background: str | None


def read_prompt(prompt: str) -> Wanted:
    """Return the words that the model knows: the first shape, its colour, and the one behind it.

    The colour before `background` is the one behind, else the second that is named.
    """
    words = [OTHER_WORDS.get(word, word) for word in re.findall(r"[a-z]+", prompt.lower())]
    words = [word.removesuffix("s") if word[:-1] in SHAPES else word for word in words]
    shape = next((word for word in words if word in SHAPES), None)
    behind: str | None = None
    colours = []
    for word, following in itertools.pairwise([*words, ""]):
        if word in COLOURS:
            if following in ("background", "backdrop", "ground") and behind is None:
                behind = word
            else:
                colours.append(word)
    colour = colours[0] if colours else None
    if behind is None and len(colours) > 1:
        behind = colours[1]
    return Wanted(shape, colour, behind)


def encode_wanted(wanted: Wanted) -> Array:
    """Return the part of the condition that the words make, of `WORDS` numbers."""
    vector = np.zeros(WORDS, np.float32)
    start = 0
    for word, known in zip(wanted, (SHAPES, COLOURS, COLOURS), strict=True):
        if word is not None:
            vector[start + known.index(word)] = 1
        start += len(known)
    return vector


def encode_time(time: Array) -> Array:
    """Return the part of the condition that the time makes, of 2 × `FREQUENCIES` numbers each."""
    angles = time[:, None] * (np.pi / 2 * 2.0 ** np.arange(FREQUENCIES, dtype=np.float32))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def get_levels(time: Array) -> tuple[Array, Array]:
    """Return how much signal and how much noise there is at a time between 0 and 1."""
    return np.cos(time * np.pi / 2).astype(np.float32), np.sin(time * np.pi / 2).astype(np.float32)


def silu(value: Array) -> Array:
    """Return x · sigmoid(x)."""
    gated: Array = value / (1 + np.exp(-value))
    return gated


def predict(weights: Weights, noisy: Array, condition: Array) -> Array:
    """Return the picture that the network sees in a noisy one, a row each, from -1 to 1."""
    hidden = silu(noisy @ weights["in"] + condition @ weights["in_condition"])
    for layer in range(LAYERS):
        inner = hidden @ weights[f"layer{layer}"] + condition @ weights[f"layer{layer}_condition"]
        hidden = hidden + silu(inner)
    return hidden @ weights["out"] + weights["out_bias"]


def draw(
    weights: Weights,
    wanted: Wanted,
    unwanted: Wanted,
    steps: int,
    generator: np.random.Generator,
    on_step: Callable[[int], bool],
) -> NDArray[np.uint8] | None:
    """Return a picture of 16 × 16 × 3 bytes, or None when `on_step` says to stop."""
    picture = generator.standard_normal((1, PIXELS), dtype=np.float32)
    times = np.linspace(FIRST_TIME, 0, steps + 1, dtype=np.float32)
    words = np.stack([encode_wanted(wanted), encode_wanted(unwanted)])
    for step, (now, after) in enumerate(zip(times[:-1], times[1:], strict=True)):
        if not on_step(step):
            return None
        condition = np.concatenate([words, encode_time(np.full(2, now, np.float32))], axis=1)
        towards, away = predict(weights, np.repeat(picture, 2, axis=0), condition)
        clean = np.clip(away + GUIDANCE * (towards - away), -1, 1)[None]
        signal, noise = np.cos(now * np.pi / 2), np.sin(now * np.pi / 2)
        rest = (picture - signal * clean) / noise
        picture = np.cos(after * np.pi / 2) * clean + np.sin(after * np.pi / 2) * rest
    levels: NDArray[np.uint8] = np.clip((picture + 1) * 127.5, 0, 255).round().astype(np.uint8)
    return levels.reshape(SIDE, SIDE, 3)
