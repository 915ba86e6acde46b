"""Settings worth trying, one dial at a time, and the choice by validation alone.

Every dial is turned by itself, from the base; what gained is then put together, best first, as long
as there are two dials or more that gained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Plain = dict[str, Any]

BASE = "base"
# Points of Matthews correlation times 100: less than this is luck.
_LEAST_GAIN = 0.3

# Setting that multiplies the epochs of a task.
EPOCHS_TIMES = "epochs_times"

# Name of a dial, and of each of its settings what it changes.
GRID: dict[str, dict[str, Plain]] = {
    "pool": {
        "pool mean-max": {"tuning": {"pool": "mean-max"}},
        "pool attention": {"tuning": {"pool": "attention"}},
        "pool max": {"tuning": {"pool": "max"}},
    },
    "rate": {
        "rate 1e-3": {"training": {"learning_rate": 1e-3}},
        "rate 2e-3": {"training": {"learning_rate": 2e-3}},
        "rate 2e-4": {"training": {"learning_rate": 2e-4}},
    },
    "mutation": {
        "mutate 0.05": {"tuning": {"mutation": 0.05}},
        "mutate 0.15": {"tuning": {"mutation": 0.15}},
    },
    "shift": {"shift 7": {"tuning": {"shift": 7}}, "shift 0": {"tuning": {"shift": 0}}},
    "average": {"ema 0.99": {"training": {"ema": 0.99}}},
    "epochs": {"epochs x 0.5": {EPOCHS_TIMES: 0.5}, "epochs x 2": {EPOCHS_TIMES: 2.0}},
    "layer_decay": {"layer decay 0.7": {"tuning": {"layer_decay": 0.7}}},
    "dropout": {"dropout 0.4": {"tuning": {"dropout": 0.4}}},
    "smoothing": {"smoothing 0.1": {"tuning": {"smoothing": 0.1}}},
    "head_rate": {
        "head rate 20": {"tuning": {"head_rate": 20.0}},
        "head rate 1": {"tuning": {"head_rate": 1.0}},
    },
    "method": {
        "lora 16": {
            "tuning": {"method": "lora", "rank": 16, "alpha": 32.0},
            "training": {"learning_rate": 2e-3},
        },
        "head": {"tuning": {"method": "head"}, "training": {"learning_rate": 5e-3}},
    },
    "motifs": {
        "motifs 128": {"tuning": {"motif_filters": 128}},
        "motifs 128, dropout 0.4": {
            "tuning": {"motif_filters": 128, "dropout": 0.4, "head_rate": 1.0}
        },
    },
    "adapt": {"adapt 2": {"adapt": 2.0}},
    # Three seeds of a cell, and their mean prediction.
    "ensemble": {"mean of 3 seeds": {"members": "all"}},
    "decay": {"weight decay 0.1": {"training": {"weight_decay": 0.1}}},
}
# From random weights only the rate is looked for: all else is to be alike.
SCRATCH_RATES = {"rate 5e-4": 5e-4, "rate 1e-3": 1e-3, "rate 2e-3": 2e-3}


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Plain:
    """Nested settings, those of `other` over those of `one`."""
    found = dict(one)
    for key, value in other.items():
        below = found.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merged(below, value)
        found[key] = value
    return found


def single(names: Sequence[str] = ()) -> dict[str, Plain]:
    """The base, and each dial turned by itself: the first setting of every dial before others.

    Args:
        names: Of dials; none: all.
    """
    dials = [dial for name, dial in GRID.items() if not names or name in names]
    found: dict[str, Plain] = {BASE: {}}
    for place in range(max(len(dial) for dial in dials)):
        for dial in dials:
            found.update(list(dial.items())[place : place + 1])
    return found


def gains(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the gain of each setting over the base, mean over the tasks of both.

    Args:
        scores: By setting and task; what the base lacks is not compared.
    """
    base = scores.get(BASE, {})
    return {
        setting: fmean(found[task] - base[task] for task in base)
        for setting, found in scores.items()
        if setting != BASE and base and set(found) >= set(base)
    }


def together(scores: Mapping[str, Mapping[str, float]]) -> dict[str, Plain]:
    """Return the setting of each dial that gained most, joined to the better ones, best first.

    What sets something that a better one has set stays out.
    """
    gained = gains(scores)
    best = []
    for dial in GRID.values():
        of_dial = [(gained[name], name) for name in dial if name in gained]
        if of_dial and max(of_dial)[0] >= _LEAST_GAIN:
            best.append((*max(of_dial), dial))
    best.sort(key=lambda one: one[0], reverse=True)
    joined: dict[str, Plain] = {}
    names: list[str] = []
    plain: Plain = {}
    for _, name, dial in best:
        if _leaves(plain) & _leaves(dial[name]):
            continue
        names.append(name)
        plain = merged(plain, dial[name])
        if len(names) > 1:
            joined[" + ".join(names)] = plain
    return joined


def _leaves(plain: Mapping[str, Any], before: str = "") -> set[str]:
    found = set()
    for key, value in plain.items():
        path = f"{before}{key}"
        found |= _leaves(value, f"{path}.") if isinstance(value, Mapping) else {path}
    return found


def choose(scores: Mapping[str, Mapping[str, float]]) -> str:
    """The setting with the best mean; the base, if none gained enough."""
    gained = gains(scores)
    best = max(gained, key=lambda name: gained[name], default=BASE)
    return best if gained.get(best, 0.0) >= _LEAST_GAIN else BASE
