"""Pictures by the committed model: that they show what was asked, and say so the same way again."""

import asyncio
import base64
import hashlib
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from miner.engines.image import MAX_IMAGES, ImageEngine
from miner.engines.image_model import encode_png, enlarge
from miner.engines.image_network import COLOURS, Wanted, read_prompt
from miner.engines.interface import InputInvalidError
from scripts.train_image_model import PALETTE
from tests.support.engine_bench import fetch, run


@pytest.fixture
async def engine() -> AsyncIterator[ImageEngine]:
    identity, path = fetch("tiny")
    engine = ImageEngine(identity, path, 1)
    yield engine
    await engine.close()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """Return height × width × 3 bytes of a PNG that our encoder wrote."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    start = data.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", data[start - 8 : start - 4])
    rows = np.frombuffer(zlib.decompress(data[start : start + length]), np.uint8)
    rows = rows.reshape(height, width * 3 + 1)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)


def open_image(image: dict[str, str]) -> NDArray[np.uint8]:
    data = base64.b64decode(image["b64_json"])
    assert image["sha256"] == hashlib.sha256(data).hexdigest()
    assert image["media_type"] == "image/png"
    return decode_png(data)


def name_colour(pixel: NDArray[np.uint8]) -> str:
    """Return the colour of the palette that is nearest to a pixel."""
    distances = ((PALETTE - (pixel / 127.5 - 1)) ** 2).sum(axis=1)
    return COLOURS[int(distances.argmin())]


@pytest.mark.parametrize(
    ("prompt", "middle", "corner"),
    [
        ("A red circle on white", "red", "white"),
        ("a blue square, please, over a yellow background", "blue", "yellow"),
        ("white cross on red", "white", "red"),
        ("on a black background: two orange diamonds", "orange", "black"),
        ("a green ring on purple", "purple", "purple"),  # a ring's middle is empty
    ],
)
async def test_a_picture_shows_what_was_asked(
    engine: ImageEngine, prompt: str, middle: str, corner: str
) -> None:
    params = {"size": "64x64", "num_images": 3, "steps": 20, "seed": 1}
    result = await run(engine, {"prompt": prompt}, params)
    assert (result.units, result.answer["seed"], result.is_cut) == (3, 1, False)
    for image in result.answer["images"]:
        pixels = open_image(image)
        assert pixels.shape == (64, 64, 3)
        assert name_colour(pixels[30:34, 30:34].mean(axis=(0, 1))) == middle
        assert name_colour(pixels[:4, :4].mean(axis=(0, 1))) == corner


async def test_a_seed_draws_the_same_again_and_each_picture_is_its_own(engine: ImageEngine) -> None:
    params = {"size": "96x32", "num_images": 2, "seed": 7}
    first = await run(engine, {"prompt": "a pink triangle"}, params)
    again = await run(engine, {"prompt": "a pink triangle"}, params)
    assert first.answer == again.answer
    one, two = first.answer["images"]
    assert one["sha256"] != two["sha256"]
    assert open_image(one).shape == (32, 96, 3)
    other = await run(engine, {"prompt": "a pink triangle"}, {**params, "seed": 8})
    assert other.answer["images"][0]["sha256"] != one["sha256"]
    unwanted = {"prompt": "a triangle", "negative_prompt": "a pink triangle"}
    assert (await run(engine, unwanted, params)).answer["images"][0]["sha256"] != one["sha256"]


async def test_a_prompt_of_unknown_words_is_refused_and_not_guessed_at(engine: ImageEngine) -> None:
    with pytest.raises(InputInvalidError, match="circle, square"):
        await run(engine, {"prompt": "a portrait of the artist"})


async def test_a_stop_leaves_the_pictures_finished_by_then(engine: ImageEngine) -> None:
    stop = asyncio.Event()
    params = {"num_images": MAX_IMAGES, "steps": 150}
    result = await run(
        engine,
        {"prompt": "a ring"},
        params,
        on_progress=lambda progress, _: stop.set() if progress >= 15 else None,
        stop=stop,
    )
    assert result.is_cut
    assert 0 < result.units == len(result.answer["images"]) < MAX_IMAGES


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("A red circle.", Wanted("circle", "red", None)),
        ("grey boxes", Wanted(None, "grey", None)),
        ("gray box on violet ground", Wanted("square", "grey", "purple")),
        ("blue background, white DISC", Wanted("circle", "white", "blue")),
        ("circles", Wanted("circle", None, None)),
        ("", Wanted(None, None, None)),
        ("hundred reddish encircled", Wanted(None, None, None)),
    ],
)
def test_words_of_a_prompt(prompt: str, wanted: Wanted) -> None:
    assert read_prompt(prompt) == wanted


def test_a_picture_is_enlarged_in_the_middle_and_kept_by_its_file() -> None:
    pixels = np.arange(16 * 16 * 3, dtype=np.uint64).astype(np.uint8).reshape(16, 16, 3)
    large = enlarge(pixels, 80, 48)
    assert large.shape == (48, 80, 3)
    assert (large[::3, 16:64:3] == pixels).all()
    assert (large[:, :16] == large[:, 16:17]).all()
    assert (decode_png(encode_png(large)) == large).all()


@pytest.mark.parametrize(
    ("input_", "params"),
    [
        ({}, {}),
        ({"prompt": 3}, {}),
        ({"prompt": "a" * 4_001}, {}),
        ({"prompt": "ring", "image": "file_1"}, {}),
        ({"prompt": "ring"}, {"size": "8x8"}),
        ({"prompt": "ring"}, {"size": "4096x4096"}),
        ({"prompt": "ring"}, {"size": "huge"}),
        ({"prompt": "ring"}, {"num_images": MAX_IMAGES + 1}),
        ({"prompt": "ring"}, {"num_images": True}),
        ({"prompt": "ring"}, {"steps": 0}),
        ({"prompt": "ring"}, {"seed": -1}),
        ({"prompt": "ring"}, {"guidance": 3}),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused(input_: Any, params: Any) -> None:
    identity, path = fetch("tiny")
    with pytest.raises(InputInvalidError):
        ImageEngine(identity, path, 1).read({"input": input_, "params": params})
