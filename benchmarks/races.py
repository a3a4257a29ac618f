"""Races on a machine that may be shared: every contender once a round, in a shuffled order.

The number to trust is the median over rounds of a contender's time divided by the reference's time of the same round:
what slows the machine down for a while slows both. Where the kernel tells how long our threads stood ready without
a core (Linux: /proc/self/task/*/schedstat), a sample that waited more than 3 % of its time counts as contended; it is
repeated while the time for the race lasts, and the result says how many samples were.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

_TRIES = 2
_WAITED = 0.03  # of a sample's time
_SLACK_SECONDS = 5e-5
_SLOW_SECONDS = 0.5  # three rounds are enough for a contender that takes longer


@dataclass
class Race:
    """Seconds of each contender, round by round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    samples: int = 0
    contended: int = 0

    def median(self, name: str) -> float:
        return float(np.median(self.seconds[name]))

    def ratio(self, name: str, reference: str) -> float | None:
        """Median over rounds of this contender's time divided by the reference's; None where one did not run."""
        if not {name, reference} <= set(self.seconds):
            return None
        pairs = zip(self.seconds[name], self.seconds[reference], strict=False)
        return float(np.median([mine / other for mine, other in pairs]))


def race(
    contenders: dict[str, Callable[[], object]],
    rounds: int = 9,
    budget: float = 30.0,
    least: float = 4e-3,
    warm: bool = True,
    before: Callable[[], object] | None = None,
) -> Race:
    """Run each contender once a round (short ones as often as fills `least` seconds) until rounds or budget end.

    `warm`: after a call that is not timed, and meets the caches and the spinning threads of the contender before. Else
    its memory is as new as in a single call: calls that take longer than `least` follow those of others. `before`: what
    is called in place of that call.
    """
    repeats = {}
    for name, run in contenders.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, min(2000, int(least / max(time.perf_counter() - start, 1e-7))))
    result = Race({name: [] for name in contenders})
    order = list(contenders)
    shuffled = random.Random(0)
    begin = time.perf_counter()
    for turn in range(rounds):
        if turn >= 3 and time.perf_counter() - begin > budget:
            break
        shuffled.shuffle(order)
        for name in order:
            if turn >= 3 and result.seconds[name][-1] > _SLOW_SECONDS:
                continue
            best = float("inf")
            for _ in range(_TRIES):
                first = before or (contenders[name] if warm or repeats[name] > 1 else None)
                seconds, waited = _sample(contenders[name], repeats[name], first)
                result.samples += 1
                best = min(best, seconds)
                if waited <= _WAITED * seconds * repeats[name] + _SLACK_SECONDS:
                    break
                result.contended += 1
                if time.perf_counter() - begin > budget:
                    break
            result.seconds[name].append(best)
    return result


def _sample(run: Callable[[], object], repeats: int, first: Callable[[], object] | None) -> tuple[float, float]:
    """Seconds of one call, and those that our threads waited for a core in all of them."""
    if first is not None:
        first()
    waited = _waited()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    seconds = time.perf_counter() - start
    return seconds / repeats, _waited() - waited


def _waited() -> float:
    total = 0
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/schedstat") as file:
                total += int(file.read().split()[1])
    except OSError:
        return 0.0
    return total * 1e-9
