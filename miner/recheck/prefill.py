"""The process of a teacher-forced pass: a claimed answer through the model, each token's gap out.

llama.cpp's own library inside the installed package, called by its C interface: its server gives
the logits of no token that was claimed. One JSON line of settings comes by standard input, a
greeting and one with the gaps go out. A process of its own, because native code may end it.
"""

import ctypes
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import xllamacpp
from numpy.typing import NDArray

from miner.child import die_with_parent
from miner.recheck.sampling import MOST_GAP, Sampling, draw, measure_gap, penalise

PARAMETER_BYTES: Final = 1_024
"""More than either structure has: it is passed as it came, but for the members below."""
BATCH: Final = 512
"""Tokens of a prompt at a time, as the engine's server takes them."""
CHUNK: Final = 32
"""Tokens of an answer at a time: in larger batches other kernels compute, with other last bits."""
DEFAULTS: Final = {0: 512, 1: 2_048, 2: 512, 3: 1, 7: 4, 8: 4}
"""Words of the context's parameters that are known: n_ctx, n_batch, n_ubatch, n_seq_max, n_threads
and n_threads_batch. A build in which they are others has another layout."""

Array = NDArray[Any]


class OtherLayoutError(Exception):
    """This build's structures are not those that are known here."""


class _Parameters(ctypes.Structure):
    _fields_ = (("words", ctypes.c_int32 * (PARAMETER_BYTES // 4)),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (_Parameters, ()),
    "llama_context_default_params": (_Parameters, ()),
    "llama_model_load_from_file": (ctypes.c_void_p, (ctypes.c_char_p, _Parameters)),
    "llama_init_from_model": (ctypes.c_void_p, (ctypes.c_void_p, _Parameters)),
    "llama_model_get_vocab": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "llama_vocab_n_tokens": (ctypes.c_int32, (ctypes.c_void_p,)),
    "llama_vocab_is_eog": (ctypes.c_bool, (ctypes.c_void_p, ctypes.c_int32)),
    "llama_batch_init": (_Batch, (ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)),
    "llama_decode": (ctypes.c_int32, (ctypes.c_void_p, _Batch)),
    "llama_get_logits_ith": (
        ctypes.POINTER(ctypes.c_float), (ctypes.c_void_p, ctypes.c_int32),
    ),
}  # fmt: skip


class Prefill:
    """One model in memory, for sequences of up to `length` tokens. Raises `OtherLayoutError`."""

    def __init__(self, model: str, length: int, threads: int) -> None:
        self._library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name, None)
            if function is None:
                raise OtherLayoutError(f"no {name} in it")
            function.restype, function.argtypes = result, arguments
        parameters = self._library.llama_context_default_params()
        if any(parameters.words[place] != value for place, value in DEFAULTS.items()):
            raise OtherLayoutError("other parameters of a context")
        values = {0: length, 1: max(BATCH, length), 2: BATCH, 7: threads, 8: threads}
        for place, value in values.items():
            parameters.words[place] = value
        self._library.llama_backend_init()
        loaded = self._library.llama_model_load_from_file(
            model.encode(), self._library.llama_model_default_params()
        )
        self._context = loaded and self._library.llama_init_from_model(loaded, parameters)
        if not self._context:
            raise OSError("the model does not load")
        self._vocabulary = self._library.llama_model_get_vocab(loaded)
        self.size: int = self._library.llama_vocab_n_tokens(self._vocabulary)
        self._batch = self._library.llama_batch_init(BATCH, 0, 1)
        self._position = 0

    def is_ending(self, token: int) -> bool:
        """Tell whether a token ends an answer."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def feed(self, tokens: Sequence[int], *, has_logits: bool) -> list[Array]:
        """Take at most `BATCH` tokens; return each one's logits, or those of the last alone."""
        batch = self._batch
        wanted = range(0 if has_logits else len(tokens) - 1, len(tokens))
        for place, token in enumerate(tokens):
            batch.token[place] = token
            batch.pos[place] = self._position + place
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = 0
            batch.logits[place] = place in wanted
        batch.n_tokens = len(tokens)
        if self._library.llama_decode(self._context, batch) != 0:
            raise OSError("the model does not take these tokens")
        self._position += len(tokens)
        return [
            np.ctypeslib.as_array(
                self._library.llama_get_logits_ith(self._context, place), (self.size,)
            ).copy()
            for place in wanted
        ]

    def iterate(self, prompt: Sequence[int], answer: Sequence[int]) -> Iterator[Array]:
        """Yield the logits from which each token of an answer was chosen, and the one after."""
        for start in range(0, len(prompt), BATCH):
            last = self.feed(prompt[start : start + BATCH], has_logits=False)
        yield from last
        for start in range(0, len(answer), CHUNK):
            yield from self.feed(answer[start : start + CHUNK], has_logits=True)


def measure(
    prefill: Prefill, prompt: Sequence[int], answer: Sequence[int], sampling: Sampling
) -> dict[str, Any]:
    """Return the gap of each token, and of the best token that would have ended the answer."""
    draws = draw(sampling.seed, len(answer) + 1)
    gaps: list[float] = []
    ending = MOST_GAP
    before = list(prompt)
    for number, logits in enumerate(prefill.iterate(prompt, answer)):
        changed = penalise(logits, before, sampling)
        if number < len(answer):
            before.append(answer[number])
            gaps.append(measure_gap(changed, answer[number], draws[number], sampling))
            continue
        for token in np.argsort(-changed)[:BATCH]:
            if prefill.is_ending(int(token)):
                ending = min(ending, measure_gap(changed, int(token), draws[number], sampling))
    return {"gaps": gaps, "ending": ending}


def main() -> None:
    """Answer one request."""
    settings = json.loads(sys.stdin.readline())
    die_with_parent(settings["parent"])
    # A library that prints would spoil the answer.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    messages.write("{}\n")
    messages.flush()
    prompt, answer = settings["prompt"], settings["answer"]
    sampling = msgspec.convert(settings["sampling"], Sampling)
    try:
        prefill = Prefill(settings["model"], len(prompt) + len(answer) + 1, settings["threads"])
        found = measure(prefill, prompt, answer, sampling)
    except OtherLayoutError as error:
        found = {"missing": str(error)}
    messages.write(json.dumps(found) + "\n")
    messages.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
