"""Tables of fine-tunings, beside floors and published numbers.

Floors: logistic regression on 3- to 5-mers and on one-hot bases, of the tasks' `INDEX.tsv`.
Published: DNABERT-2 (117 million parameters; Zhou et al. 2023, table 6) on the official GUE splits,
and the CNN of Umarov and Solovyev (2017) on their sets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from processes import markdown

from genomeformer_cli.core.finetuning.summary import PRETRAINED, SCRATCH

# Matthews correlation times 100.
DNABERT_2 = {
    "gue_tf_0": 71.99,
    "gue_tf_2": 66.52,
    "gue_tf_3": 58.54,
    "gue_prom_prom_core_all": 69.37,
    "gue_prom_prom_core_notata": 68.04,
    "gue_prom_prom_300_tata": 71.59,
    "gue_mouse_2": 79.32,
    "gue_mouse_3": 66.47,
    "gue_mouse_4": 52.66,
}
_PUBLISHED = re.compile(r"published CNN: Sn ([\d.]+)\s+Sp ([\d.]+)\s+CC ([\d.]+)")
_SIDES = ("sensitivity", "specificity")
_HEAD = [
    *("task", "test rows", "3-5-mers", "one-hot", "linear alone", "from scratch", "pretrained"),
    *("gain", "network alone", "with the network"),
    *("accuracy", "published", "Sn, Sp", "verdict"),
]

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Scores of others on a task, Matthews correlation times 100; None: not known."""

    words: float | None  # Logistic regression on 3- to 5-mers.
    places: float | None  # Logistic regression on one-hot bases.
    who: str = ""  # Published what follows.
    published: float | None = None  # Published score.
    sides: tuple[float, float] | None = None  # Published sensitivity and specificity, 0 to 1.


def known(row: Mapping[str, str]) -> Known:
    """Return the scores of the index and of the literature on a task."""
    words, places = (
        100 * float(row[column]) if row[column] not in ("", "-") else None
        for column in ("kmer345_logreg_mcc", "onehot_logreg_mcc")
    )
    if row["task"] in DNABERT_2:
        score = DNABERT_2[row["task"]]
        return Known(words=words, places=places, who="DNABERT-2", published=score)
    found = _PUBLISHED.search(row["note"])
    if not found:
        return Known(words=words, places=places)
    first, second, score = (float(one) for one in found.groups())
    return Known(
        words=words, places=places, who="CNN", published=100 * score, sides=(first, second)
    )


def by_seed(records: Sequence[Record], origin: str, measure: str = "mcc") -> dict[int, float]:
    """A measure on the test rows, times 100."""
    return {
        one["seed"]: 100 * one["test"]["measures"][measure]
        for one in records
        if one["origin"] == origin and measure in one["test"]["measures"]
    }


def of_stack(records: Sequence[Record], part: str) -> dict[int, float]:
    """Return the scores of the `network` alone, or of both (`test`), by seed, times 100."""
    return {
        one["seed"]: 100 * one["stacked"][part]["measures"]["mcc"]
        for one in records
        if "stacked" in one
    }


def told(found: Sequence[float]) -> str:
    """Mean, standard deviation and number."""
    if not found:
        return "-"
    spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
    return f"{fmean(found):.2f}{spread} ({len(found)})"


def line(task: str, records: Sequence[Record], others: Known) -> list[str]:
    """A row of the table."""
    ours, twin = by_seed(records, PRETRAINED), by_seed(records, SCRATCH)
    final = of_stack(records, "test") or ours
    # Pairs share the seed, and so the head, the order of rows and the strands.
    pairs = sorted(set(ours) & set(twin))
    floors = ["-" if one is None else f"{one:.1f}" for one in (others.words, others.places)]
    accuracy = list(by_seed(records, PRETRAINED, "accuracy").values())
    linear = linear_alone(records)
    published = "-" if others.published is None else f"{others.published:.2f} {others.who}"
    return [
        *(task, f"{records[0]['num_rows']['test']:,}", *floors, f"{linear:.1f}" if linear else "-"),
        *(told(list(twin.values())), told(list(ours.values()))),
        told([ours[seed] - twin[seed] for seed in pairs]),
        *(told(list(of_stack(records, part).values())) for part in ("network", "test")),
        *(
            told(accuracy),
            published,
            _sides(records, others),
            _verdict(final, twin, others, linear),
        ),
    ]


def _sides(records: Sequence[Record], others: Known) -> str:
    both = [list(by_seed(records, PRETRAINED, one).values()) for one in _SIDES]
    if others.sides is None or not both[0]:
        return "-"
    first, second = (fmean(one) / 100 for one in both)
    return f"{first:.2f}, {second:.2f}; theirs {others.sides[0]:.2f}, {others.sides[1]:.2f}"


def linear_alone(records: Sequence[Record]) -> float | None:
    """Return the score of the linear model alone, times 100; None without one."""
    found = [one["linear"]["measures"]["mcc"] for one in records if "linear" in one]
    return 100 * fmean(found) if found else None


def _verdict(
    ours: Mapping[int, float], twin: Mapping[int, float], others: Known, linear: float | None
) -> str:
    if not ours:
        return "-"
    scores = {
        "3-5-mers": others.words,
        "one-hot": others.places,
        "linear alone": linear,
        others.who: others.published,
        "scratch": fmean(twin.values()) if twin else None,
    }
    mean = fmean(ours.values())
    ahead = [name for name, score in scores.items() if score is not None and score >= mean]
    return "behind " + ", ".join(ahead) if ahead else "ahead of all"


def table(records: Sequence[Record], others: Mapping[str, Known]) -> str:
    """All tasks, in the order of `others`."""
    rows = []
    for task, rivals in others.items():
        of_task = [one for one in records if one["task"] == task]
        if of_task:
            rows.append(line(task, of_task, rivals))
    return markdown(_HEAD, rows)


def tally(records: Sequence[Record], others: Mapping[str, Known]) -> str:
    """Return how often ours is ahead of published scores, and both means; empty without any."""
    sentences = []
    for who in dict.fromkeys(one.who for one in others.values() if one.who):
        pairs = []
        for task, rivals in others.items():
            of_task = [one for one in records if one["task"] == task]
            ours = of_stack(of_task, "test") or by_seed(of_task, PRETRAINED)
            if rivals.who == who and rivals.published is not None and ours:
                pairs.append((fmean(ours.values()), rivals.published))
        if pairs:
            ahead = sum(ours > theirs for ours, theirs in pairs)
            means = [fmean(side) for side in zip(*pairs, strict=True)]
            sentences.append(
                f"Ahead of {who} on {ahead} of {len(pairs)} tasks; means {means[0]:.2f} and "
                f"{means[1]:.2f}."
            )
    return " ".join(sentences)


def chosen_by(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return the mean validation over seeds, by setting and task, times 100."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in records:
        score = 100 * one.get("stacked", one)["validation"]["measures"].get("mcc", 0.0)
        found.setdefault(one["setting"], {}).setdefault(one["task"], []).append(score)
    return {
        setting: {task: fmean(scores) for task, scores in tasks.items()}
        for setting, tasks in found.items()
    }


def whole(
    scores: Mapping[str, dict[str, float]], tasks: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Settings that every task was tried with."""
    return {name: found for name, found in scores.items() if len(found) == len(tasks)}


def tuning_table(records: Sequence[Record], tasks: Sequence[str]) -> str:
    """Settings by their validation, best first; those that some task lacks come last."""
    seconds: dict[str, list[float]] = {}
    for one in records:
        seconds.setdefault(one["setting"], []).append(one["seconds"])
    rows = []
    for setting, scores in chosen_by(records).items():
        is_whole = len(scores) == len(tasks)
        mean = fmean(scores.values())
        cells = [f"{scores[task]:.2f}" if task in scores else "-" for task in tasks]
        took = f"{fmean(seconds[setting]):.0f} s"
        rows.append((is_whole, mean, [setting, *cells, f"{mean:.2f}" if is_whole else "-", took]))
    ordered = [cells for _, _, cells in sorted(rows, key=lambda one: one[:2], reverse=True)]
    return markdown(["setting", *tasks, "mean", "a cell"], ordered)
