"""Trains a very small pipeline of diffusers and saves its folder: `… train_image_pipeline FOLDER`.

Shapes of `scripts/train_image_model.py`, 32 pixels a side: a text encoder that knows their words,
an autoencoder and a network, of under a million weights. Needs the extra `diffusers`; five minutes
on one core. It shows that a pipeline's folder comes up and draws; it is no artist.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from miner.engines.image_network import COLOURS, SHAPES, SIDE
from scripts.train_image_model import render

SCALE: Final = 2
"""Pixels of a picture to one of what `render` draws, on each axis."""
BATCH: Final = 16
ENCODER_STEPS: Final = 300
STEPS: Final = 1_200
RATE: Final = 2e-3
DROPPED: Final = 0.1
WORDS: Final = ("a", "on", *SHAPES, *COLOURS)
LENGTH: Final = 8
"""Tokens of a prompt at most, its ends among them."""
WIDTH: Final = 48


def make_tokenizer() -> CLIPTokenizer:
    """Return a tokenizer in CLIP's format whose tokens are the words."""
    letters = sorted({letter for word in WORDS for letter in word})
    pieces: list[str] = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
            parts[:2] = [parts[0] + parts[1]]
            if parts[0] not in pieces:
                pieces.append(parts[0])
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *pieces]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(vocabulary)},
        merges=merges,
        model_max_length=LENGTH,
    )


def draw(generator: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """Return a batch of pictures, -1 to 1, and a sentence for each."""
    pictures, words = render(generator, BATCH)
    pixels = torch.from_numpy(pictures.reshape(BATCH, SIDE, SIDE, 3)).permute(0, 3, 1, 2)
    return pixels.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3), [
        "" if generator.random() < DROPPED else describe(row) for row in words
    ]


def describe(words: np.ndarray[Any, Any]) -> str:
    """Return the sentence of what `render` says of a picture."""
    named = [
        next((word for word, is_so in zip(known, part, strict=True) if is_so), "")
        for known, part in zip(
            (SHAPES, COLOURS, COLOURS),
            np.split(words, [len(SHAPES), len(SHAPES) + len(COLOURS)]),
            strict=True,
        )
    ]
    shape, colour, other = named
    return " ".join(f"a {colour} {shape} {f'on {other}' if other else ''}".split())


def make_parts(tokenizer: CLIPTokenizer) -> tuple[Any, Any, Any]:
    """Return the autoencoder, the text encoder and the network, untrained."""
    autoencoder = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=SIDE * SCALE,
    )
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    network = UNet2DConditionModel(
        sample_size=SIDE * SCALE // 2,
        layers_per_block=1,
        block_out_channels=(32, 48),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    return autoencoder, encoder, network


def iterate_batches(steps: int, title: str) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Yield pictures and their sentences, saying now and then how far it is."""
    generator = np.random.default_rng(1)
    begin = time.monotonic()
    for step in range(steps):
        yield draw(generator)
        if step % 100 == 99:
            sys.stderr.write(f"{title}: {step + 1} of {steps}, {time.monotonic() - begin:.0f} s\n")


def train_autoencoder(autoencoder: Any) -> None:
    """Have it give back what it is shown, and keep what lies between to about one."""
    optimizer = torch.optim.AdamW(autoencoder.parameters(), RATE)
    for pixels, _ in iterate_batches(ENCODER_STEPS, "autoencoder"):
        hidden = autoencoder.encode(pixels).latent_dist
        found = autoencoder.decode(hidden.sample()).sample
        loss = functional.mse_loss(found, pixels) + 1e-4 * hidden.kl().mean() / pixels[0].numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        pixels, _ = draw(np.random.default_rng(2))
        spread = autoencoder.encode(pixels).latent_dist.mode().std().item()
    autoencoder.register_to_config(scaling_factor=1 / spread)


def train_network(
    tokenizer: CLIPTokenizer, scheduler: DDIMScheduler, parts: tuple[Any, Any, Any]
) -> None:
    """Have network and text encoder find the noise in what the autoencoder makes."""
    autoencoder, encoder, network = parts
    trained = [*encoder.parameters(), *network.parameters()]
    optimizer = torch.optim.AdamW(trained, RATE)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for pixels, sentences in iterate_batches(STEPS, "network"):
        with torch.no_grad():
            hidden = autoencoder.encode(pixels).latent_dist.sample()
            hidden = hidden * autoencoder.config.scaling_factor
        tokens = tokenizer(
            sentences, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        noise = torch.randn_like(hidden)
        times = torch.randint(0, scheduler.config.num_train_timesteps, (BATCH,))
        found = network(scheduler.add_noise(hidden, noise, times), times, encoder(tokens)[0]).sample
        loss = functional.mse_loss(found, noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        plan.step()


def main() -> None:
    """Train and save, in half precision."""
    folder = Path(sys.argv[1])
    torch.manual_seed(1)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    parts = make_parts(tokenizer)
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    train_autoencoder(parts[0])
    train_network(tokenizer, scheduler, parts)
    pipeline = StableDiffusionPipeline(
        vae=parts[0],
        text_encoder=parts[1],
        tokenizer=tokenizer,
        unet=parts[2],
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)


if __name__ == "__main__":
    main()
