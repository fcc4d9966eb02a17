"""Class `tolerance`: what comes out again is nearly the same; how nearly, each service says.

The worst of a result's vectors, rows, words or numbers decides, never a mean over them in which one
forged among many would not be seen.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from miner.recheck.pictures import NoPictureError, compare_rows, read_png
from miner.recheck.verdict import Standing, Verdict, judge, refuse

LEAST_COSINE: Final = 0.9999
"""What embeddings of other builds were measured to keep to: docs/decisions/checks-token-ids.md."""
LEAST_DECIBELS: Final = 40.0
"""A mean error of 2.5 levels of 255 in a row; honest pictures differ by a level here and there."""
MOST_WORD_ERRORS: Final = 0.05
"""Of the words of one segment's length; int8 arithmetic of another CPU changes fewer."""
SEGMENT_WORDS: Final = 20
"""Words that errors are counted over: a forged one shows in a long transcript too."""
RELATIVE: Final = 1e-3
ABSOLUTE: Final = 1e-4
"""How far a number of an ONNX model's output may be off: the sum of both shares."""
MOST_NUMBER: Final = 1e300
"""What is larger, or no number at all, has to be the same."""
COSINE, DECIBELS = "least cosine of a vector", "PSNR of the worst row in dB"
WORD_ERRORS, DEVIATION = "largest word error rate", "largest deviation over its tolerance"


def compare_vectors(claimed: Mapping[str, Any], found: Mapping[str, Any]) -> Verdict:
    """Return the verdict on embeddings."""
    ours, theirs = found["embeddings"], claimed.get("embeddings")
    if not isinstance(theirs, list) or not 0 < len(theirs) <= len(ours):
        return refuse("the result has another number of vectors", COSINE)
    # Of a job that was cut short the first ones are there, and billed.
    cosines = [_compute_cosine(vector, own) for vector, own in zip(theirs, ours, strict=False)]
    if any(cosine is None for cosine in cosines):
        return refuse("a vector of the result is none, or has another length", COSINE)
    least = min(cosine for cosine in cosines if cosine is not None)
    where = f", at vector {cosines.index(least)}; {len(theirs)} of {len(ours)} are there"
    return judge(COSINE, least, LEAST_COSINE, is_enough=least >= LEAST_COSINE, where=where)


def _compute_cosine(theirs: Any, ours: Sequence[float]) -> float | None:
    if not isinstance(theirs, list) or len(theirs) != len(ours):
        return None
    if not all(map(_is_number, theirs)):
        return None
    try:
        length = math.sqrt(math.fsum(value * value for value in theirs))
        own_length = math.sqrt(math.fsum(value * value for value in ours))
        product = math.fsum(one * other for one, other in zip(theirs, ours, strict=True))
        # Vectors are handed over with length 1, and a client may multiply them as they are.
        is_unit = math.isclose(length, own_length, rel_tol=1e-3)
        return product / (length * own_length) if is_unit else 0.0
    except (OverflowError, ZeroDivisionError):
        return None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -MOST_NUMBER <= value <= MOST_NUMBER


def compare_pictures(claimed: Mapping[str, Any], found: Mapping[str, Any]) -> Verdict:
    """Return the verdict on pictures."""
    ours, theirs = found["images"], claimed.get("images")
    if not isinstance(theirs, list) or not 0 < len(theirs) <= len(ours):
        return refuse("the result has another number of pictures", DECIBELS)
    worst, place = math.inf, 0
    for number, (picture, own) in enumerate(zip(theirs, ours, strict=False)):
        try:
            pixels = read_png(base64.b64decode(picture["b64_json"], validate=True))
        except (NoPictureError, KeyError, TypeError, binascii.Error) as error:
            return refuse(f"picture {number} of the result is none: {error}", DECIBELS)
        expected = read_png(base64.b64decode(own["b64_json"]))
        if pixels.shape != expected.shape:
            return refuse(f"picture {number} of the result has another size", DECIBELS)
        decibels = compare_rows(pixels, expected)
        if decibels < worst:
            worst, place = decibels, number
    where = f", at picture {place}; {len(theirs)} of {len(ours)} are there"
    return judge(DECIBELS, worst, LEAST_DECIBELS, is_enough=worst >= LEAST_DECIBELS, where=where)


def compare_transcripts(
    claimed: Mapping[str, Any], found: Mapping[str, Any], seconds: int
) -> Verdict:
    """Return the verdict on a transcript: its text, and that its segments say the same.

    `seconds` are billed; of what was heard after them a job that was cut short says nothing.
    """
    text, segments = claimed.get("text"), claimed.get("segments")
    if not isinstance(text, str) or not isinstance(segments, list):
        return refuse("the result is no transcript", WORD_ERRORS)
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in segments):
        return refuse("a segment of the result is none", WORD_ERRORS)
    heard = [part["text"] for part in found["segments"] if part["end"] <= seconds]
    ours = _split(" ".join(heard))
    rates = [
        measure_word_errors(_split(version), ours)
        for version in (text, " ".join(part["text"] for part in segments))
    ]
    worst = max(rates)
    verdict = judge(WORD_ERRORS, worst, MOST_WORD_ERRORS, is_enough=worst <= MOST_WORD_ERRORS)
    for name in ("language", "duration"):
        if verdict.standing is Standing.STANDS and claimed.get(name) != found[name]:
            return refuse(f"the result has another {name}", WORD_ERRORS)
    return verdict


def _split(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def measure_word_errors(claimed: Sequence[str], found: Sequence[str]) -> float:
    """Return the largest share of wrong words over any `SEGMENT_WORDS` words of what was found.

    A short text is one segment. Words that are missing or too many count where they would stand.
    """
    wrong = _align(claimed, found)
    size = min(SEGMENT_WORDS, max(1, len(found)))
    running = sum(wrong[:size])
    worst = running
    for end in range(size, len(wrong)):
        running += wrong[end] - wrong[end - size]
        worst = max(worst, running)
    return worst / size


def _align(claimed: Sequence[str], found: Sequence[str]) -> list[int]:
    """Return the errors at each found word; one place where nothing was found."""
    wrong = [0] * max(1, len(found))
    if len(claimed) > 2 * len(found) + SEGMENT_WORDS:
        return [SEGMENT_WORDS] * len(wrong)  # another text altogether, and too long to align
    steps = SequenceMatcher(None, found, claimed, autojunk=False).get_opcodes()
    for kind, start, end, first, last in steps:
        if kind != "equal":
            for number in range(max(end - start, last - first)):
                wrong[min(start + number, max(start, end - 1), len(wrong) - 1)] += 1
    return wrong


def compare_numbers(claimed: Any, found: Any) -> Verdict:
    """Return the verdict on nested lists and objects of numbers, such as a model's tensors."""
    worst, problem = _compare_nested(claimed, found)
    if problem is not None:
        return refuse(problem, DEVIATION)
    return judge(DEVIATION, worst, 1.0, is_enough=worst <= 1.0)


def _compare_nested(claimed: Any, found: Any) -> tuple[float, str | None]:
    """Return the largest deviation over its tolerance, or what is of another shape."""
    worst = 0.0
    waiting = [(claimed, found)]
    while waiting:
        theirs, ours = waiting.pop()
        if isinstance(ours, Mapping):
            if not isinstance(theirs, Mapping) or theirs.keys() != ours.keys():
                return worst, "the result has other members"
            waiting += [(theirs[name], ours[name]) for name in ours]
        elif isinstance(ours, list | tuple):
            if not isinstance(theirs, list | tuple) or len(theirs) != len(ours):
                return worst, "the result has another shape"
            waiting += zip(theirs, ours, strict=True)
        elif isinstance(ours, float) and _is_number(ours) and _is_number(theirs):
            worst = max(worst, abs(theirs - ours) / (ABSOLUTE + RELATIVE * abs(ours)))
        elif type(theirs) is not type(ours) or theirs != ours:
            return worst, "the result has another value where no number is"
    return worst, None
