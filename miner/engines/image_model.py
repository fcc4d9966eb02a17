"""The small image model in memory: pictures of 16 × 16 pixels, enlarged, as PNG.

Numpy on the processor. Each picture has its own noise, from the seed and its number.
"""

import base64
import hashlib
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from miner.engines.image_network import Wanted, Weights, draw, read_prompt
from miner.engines.interface import InputInvalidError
from miner.engines.local_server import Made, OnStep, describe_processor

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
TRUE_COLOUR: Final = 2
FILTER_UP: Final = 2


class ImageModel:
    """The weights, and how they are asked."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def describe(self) -> dict[str, str]:
        """Return what draws."""
        return {
            "engine": f"aitbc-numpy-diffusion 1 (numpy {np.__version__})",
            "options": "16x16 enlarged",
            "device": describe_processor(),
        }

    def run(self, request: Mapping[str, Any], on_step: OnStep) -> Made:
        """Return the pictures finished by the end, or by the stop."""
        wanted = read_prompt(request["prompt"])
        if wanted == Wanted(None, None, None):
            raise InputInvalidError(
                "this model draws a circle, square, triangle, diamond, cross or ring in one colour "
                "on another, and the prompt names none of these"
            )
        unwanted = read_prompt(request["negative_prompt"])
        count, steps = request["num_images"], request["steps"]
        images: list[dict[str, str]] = []
        for number in range(count):

            def report(step: int, done: int = number) -> bool:
                return on_step(100 * (done * steps + step) // (count * steps))

            generator = np.random.Generator(
                np.random.Philox(np.random.SeedSequence([request["seed"], number]))
            )
            pixels = draw(self._weights, wanted, unwanted, steps, generator, report)
            if pixels is None:
                break
            data = encode_png(enlarge(pixels, request["width"], request["height"]))
            images.append(describe_png(data))
        answer = {"images": images, "seed": request["seed"]} if images else None
        return Made(answer, len(images), is_cut=len(images) < count)


def enlarge(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return a square picture as the largest centred square of a size, its edges going on."""
    side = min(width, height)
    rows = _spread(len(pixels), side, height)
    columns = _spread(len(pixels), side, width)
    return pixels[rows][:, columns]


def _spread(count: int, side: int, length: int) -> NDArray[np.int64]:
    """Return which of `count` pixels each of `length` places shows."""
    places = np.arange(length) - (length - side) // 2
    return np.clip(places * count // side, 0, count - 1)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG of height × width × 3 bytes."""
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, width * 3)
    above = np.concatenate([np.zeros((1, width * 3), np.uint8), rows[:-1]])
    filtered = np.empty((height, width * 3 + 1), np.uint8)
    filtered[:, 0] = FILTER_UP
    filtered[:, 1:] = rows - above
    header = struct.pack(">IIBBBBB", width, height, 8, TRUE_COLOUR, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def describe_png(data: bytes) -> dict[str, str]:
    """Return a picture as a result has it."""
    return {
        "b64_json": base64.b64encode(data).decode(),
        "media_type": "image/png",
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def load(options: Mapping[str, Any]) -> ImageModel:
    """Return the model whose weights lie at `path`."""
    stored = load_file(Path(options["path"]))
    return ImageModel({name: value.astype(np.float32) for name, value in stored.items()})
