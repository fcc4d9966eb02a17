"""How far logits would have to be off for a claimed token to be the one that was drawn.

llama.cpp's own way from logits to a token, replayed: penalties, top-k, top-p, min-p, temperature,
then one draw of std::mt19937 a token, which depends on the seed alone. So of a sampled answer too
each token is decided by the logits, and the gap says how much the difference of any two logits has
to change for the claimed one to come out. Without a temperature that is the best logit less the
claimed one's.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_GAP: Final = 32.0
"""Where the search ends: no honest logits are that far apart."""
PRECISION: Final = 1e-3
LEAST_CANDIDATES: Final = 256

Array = NDArray[Any]


class Sampling(msgspec.Struct, frozen=True):
    """The settings of one answer, each as the engine had it."""

    seed: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    presence_penalty: float
    frequency_penalty: float
    repeat_last_n: int


def draw(seed: int, count: int) -> Array:
    """Return the first draws of std::uniform_real_distribution<double> over std::mt19937."""
    # The seeding of old is the standard's own; both give the same 32 bits at a time.
    words = np.random.RandomState(seed).randint(0, 2**32, size=2 * count, dtype=np.uint32)
    low, high = words[0::2].astype(np.float64), words[1::2].astype(np.float64)
    drawn: Array = (low + high * 2.0**32) / 2.0**64
    return drawn


def penalise(logits: Array, before: Sequence[int], sampling: Sampling) -> Array:
    """Return the logits less what the tokens before cost by presence and frequency."""
    # llama.cpp's own reading: a window of 0 is none, one of -1 everything.
    window = len(before) if sampling.repeat_last_n < 0 else sampling.repeat_last_n
    counts = Counter(before[max(0, len(before) - window) :])
    if not (sampling.presence_penalty or sampling.frequency_penalty) or not counts:
        return logits
    tokens = np.fromiter(counts, np.int64)
    times = np.fromiter(counts.values(), np.float32)
    changed = logits.copy()
    changed[tokens] -= times * sampling.frequency_penalty + sampling.presence_penalty
    return changed


def measure_gap(logits: Array, token: int, drawn: float, sampling: Sampling) -> float:
    """Return the least gap under which a token is drawn, up to `MOST_GAP`; 0: it is, as it is."""
    if sampling.temperature <= 0:
        return min(MOST_GAP, float(logits.max() - logits[token]))
    candidates = _Candidates(logits, token, sampling)
    if candidates.admits(0.0, drawn):
        return 0.0
    low, high = 0.0, MOST_GAP
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if candidates.admits(middle, drawn) else (middle, high)
    return high


class _Candidates:
    """The tokens with the highest logits, and the claimed one among them or after them."""

    def __init__(self, logits: Array, token: int, sampling: Sampling) -> None:
        self._sampling = sampling
        is_cut = sampling.top_k > 0 or sampling.top_p < 1
        """The candidates are in the order of their logits; else in that of the vocabulary."""
        count = len(logits)
        if sampling.top_k > 0:
            count = min(count, max(LEAST_CANDIDATES, 4 * sampling.top_k))
        chosen = np.arange(len(logits))
        if count < len(logits):
            chosen = np.union1d(np.argpartition(-logits, count)[:count], [token])
        order = chosen[np.argsort(-logits[chosen], kind="stable")] if is_cut else chosen
        self._is_sorted = is_cut
        self._place = int(np.flatnonzero(order == token)[0])
        self._logits = logits[order].astype(np.float64)
        self._most = float(self._logits.max())
        self._claimed = float(self._logits[self._place])
        self._weights = np.exp((self._logits - self._most) / sampling.temperature)
        plain = np.exp(self._logits - self._most)
        kept = sampling.top_k if sampling.top_k > 0 else len(plain)
        self._mass_before = (np.cumsum(plain) - plain) / plain[:kept].sum()

    def admits(self, gap: float, drawn: float) -> bool:
        """Tell whether logits within the gap would have given the claimed token."""
        sampling, place = self._sampling, self._place
        surely = self._logits > self._claimed + gap
        if 0 < sampling.top_k <= int(surely.sum()):
            return False
        if self._claimed < self._most + math.log(max(sampling.min_p, 1e-30)) - gap:
            return False
        wide, narrow = self._keep(-gap), self._keep(gap)
        if self._is_sorted:
            first = int(surely.sum())
            if sampling.top_p < 1 and _shift(self._mass_before[first], -gap) >= sampling.top_p:
                return False
            perhaps = self._logits >= self._claimed - gap
        else:
            surely = perhaps = np.arange(len(self._logits)) < place
        claimed = np.zeros(len(self._logits), bool)
        claimed[place] = True
        above, upto = surely & narrow, (perhaps & wide) | claimed
        least = self._weigh(above) / self._weigh(wide | above | claimed)
        most = self._weigh(upto) / self._weigh(narrow | upto)
        spread = gap / sampling.temperature
        return _shift(least, -spread) <= drawn <= _shift(most, spread)

    def _keep(self, gap: float) -> Array:
        """Return which candidates are left, however much the limits move by the gap."""
        sampling = self._sampling
        kept: Array = self._logits >= self._most + math.log(max(sampling.min_p, 1e-30)) + gap
        if sampling.top_k > 0:
            last = self._logits[min(sampling.top_k, len(self._logits)) - 1]
            kept &= self._logits >= last + gap
        if sampling.top_p < 1:
            scale = math.exp(gap)
            odds = self._mass_before * scale
            kept &= odds / (1 - self._mass_before + odds) < sampling.top_p
        return kept

    def _weigh(self, chosen: Array) -> float:
        return float(self._weights[chosen].sum())


def _shift(share: float, gap: float) -> float:
    """Return a share whose odds are changed by a factor of e to the gap."""
    if share <= 0 or share >= 1:
        return min(1.0, max(0.0, share))
    odds = share / (1 - share) * math.exp(gap)
    return odds / (1 + odds)
