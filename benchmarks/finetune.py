"""Is pretraining worth it? Fine-tuning against the same model from scratch, at equal budget.

Every chosen task of a folder with an `INDEX.tsv`, seed by seed; beside the floors of that index
(logistic regression on 3- to 5-mers and on one-hot bases), the published numbers of DNABERT-2
(117 million parameters; Zhou et al. 2023, table 6) on the official GUE splits, and the CNN of
Umarov and Solovyev (2017) on theirs. What is finished is kept in the cache, by task and seed: the
same command again goes on, and more seeds add to those that are there.

    python benchmarks/finetune.py TASKS --model MODEL --only gue_tf --seeds 5 -o finetune
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from genomeformer_cli.core.configuration import overlay
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.summary import PRETRAINED, SCRATCH, TunedSummary
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.workflows.finetune import FinetuneRequest, finetune_model
from genomeformer_cli.ui.console import to_json
from genomeformer_cli.ui.progress import terminal_reporter

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
# A factor binds whichever strand it stands on; a promoter has a direction.
EITHER_STRAND = ("gue_tf", "gue_mouse", "guelow_mouse", "ienhancer")
_PUBLISHED = re.compile(r"published CNN: Sn ([\d.]+)\s+Sp ([\d.]+)\s+CC ([\d.]+)")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What others have on a task, Matthews correlation times 100; None: nothing.

    Attributes:
        words: Logistic regression on 3- to 5-mers.
        places: Logistic regression on one-hot bases.
        published: Who, and what.
    """

    words: float | None
    places: float | None
    published: tuple[str, float] | None


def main() -> None:
    """Fine-tune on each task; write the table after each."""
    chosen = arguments().parse_args()
    index = {row["task"]: row for row in read_index(chosen.tasks / "INDEX.tsv")}
    names = [
        name
        for name in index
        if not chosen.only or any(name.startswith(one) for one in chosen.only)
    ]
    if not names:
        sys.exit(f"no task begins with {' or '.join(chosen.only)}")
    results: dict[str, Any] = {}
    for name in names:
        started = time.monotonic()
        summary = finetune(name, chosen)
        results[name] = {
            "seconds": round(time.monotonic() - started, 1),
            **to_json(summary),
        }
        write_results(chosen.output, results, {one: known(index[one]) for one in results})
        print(f"{name}: {line(name, results[name], known(index[name]))}", file=sys.stderr)
    print(chosen.output.with_suffix(".md").read_text(encoding="utf-8"))


def arguments() -> argparse.ArgumentParser:
    """What can be chosen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--only", action="append", default=[], help="beginnings of names of tasks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--patience", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--scratch-rate", type=float, default=0.0, help="0: the same")
    parser.add_argument("--method", default="full")
    parser.add_argument("--pool", default="mean")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--set", action="append", default=[], help="tuning.dropout=0.2 and its like"
    )
    parser.add_argument("--tag", default="", help="part of the runs' names, for other settings")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("finetune"))
    return parser


def read_index(path: Path) -> Iterator[dict[str, str]]:
    """Rows of the folder's index."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t")


def finetune(task: str, chosen: argparse.Namespace) -> TunedSummary:
    """All seeds of a task, pretrained and from scratch."""
    strands = "average" if task.startswith(EITHER_STRAND) else "given"
    plain: dict[str, Any] = {
        "epochs": chosen.epochs,
        "scratch_rate": chosen.scratch_rate,
        "tuning": {
            "method": chosen.method,
            "pool": chosen.pool,
            "strands": strands,
            "patience": chosen.patience,
        },
        "training": {"learning_rate": chosen.learning_rate, "batch_size": chosen.batch_size},
    }
    config = overlay(FinetuneConfig(), plain, where="benchmark")
    for setting in chosen.set:
        config = overlay(config, nested(setting), where="--set")
    tag = f"-{chosen.tag}" if chosen.tag else ""
    request = FinetuneRequest(
        data=chosen.tasks / f"{task}.tsv.gz",
        model=chosen.model,
        name=f"{Path(chosen.model).name}-{task}{tag}",
        config=config,
        num_seeds=chosen.seeds,
        from_scratch=True,
        device=chosen.device,
        threads=chosen.threads,
    )
    with terminal_reporter() as reporter:
        return finetune_model(request, reporter=reporter).summary


def nested(setting: str) -> dict[str, Any]:
    """`tuning.dropout=0.2` as nested dictionaries."""
    path, _, value = setting.partition("=")
    try:
        plain: Any = json.loads(value)
    except ValueError:
        plain = value
    for key in reversed(path.split(".")):
        plain = {key: plain}
    return dict(plain)


def known(row: dict[str, str]) -> Known:
    """What the index and the literature have on a task."""
    floors = [
        100 * float(row[column]) if row[column] not in ("", "-") else None
        for column in ("kmer345_logreg_mcc", "onehot_logreg_mcc")
    ]
    published: tuple[str, float] | None = None
    if row["task"] in DNABERT_2:
        published = ("DNABERT-2", DNABERT_2[row["task"]])
    elif found := _PUBLISHED.search(row["note"]):
        sensitivity, specificity, correlation = found.groups()
        published = (f"CNN, Sn {sensitivity} Sp {specificity}", 100 * float(correlation))
    return Known(words=floors[0], places=floors[1], published=published)


def values(result: dict[str, Any], origin: str, measure: str = "mcc") -> list[float]:
    """A measure on the test rows, seed by seed, times 100."""
    return [
        100 * one["test"]["measures"][measure]
        for one in result["results"]
        if one["origin"] == origin and measure in one["test"]["measures"]
    ]


def told(found: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{fmean(found):.2f}" + (f" ± {stdev(found):.2f}" if len(found) > 1 else "")


def line(name: str, result: dict[str, Any], others: Known) -> str:
    """A row of the table."""
    ours, twin = values(result, PRETRAINED), values(result, SCRATCH)
    # Pairs share the seed, and so the head, the order of rows and the strands.
    gain = told([one - two for one, two in zip(ours, twin, strict=True)])
    floors = [others.words, others.places]
    rivals = [one for one in floors if one is not None]
    cells = [name, f"{result['num_rows']['test']:,}"]
    cells += ["-" if one is None else f"{one:.1f}" for one in floors]
    cells += [told(twin), told(ours), gain]
    if others.published is None:
        cells.append("-")
    else:
        who, score = others.published
        rivals.append(score)
        cells.append(f"{score:.2f} ({who})")
        if who.startswith("CNN"):
            pair = [values(result, PRETRAINED, one) for one in ("sensitivity", "specificity")]
            cells[-1] += f"; ours Sn {fmean(pair[0]) / 100:.2f} Sp {fmean(pair[1]) / 100:.2f}"
    cells.append(
        "ahead of all" if fmean(ours) > max([*rivals, fmean(twin)]) else "not ahead of all"
    )
    return "| " + " | ".join(cells) + " |"


def write_results(output: Path, results: dict[str, Any], others: dict[str, Known]) -> None:
    """The JSON of everything, and the table."""
    write_json(output.with_suffix(".json"), results)
    head = (
        "| task | test rows | 3-5-mers | one-hot | from scratch | pretrained | gain | published "
        "| verdict |"
    )
    first = next(iter(results.values()))
    seeds = len(values(first, PRETRAINED))
    lines = [
        f"Matthews correlation times 100 on the test rows; mean and standard deviation of {seeds} "
        f"seeds; `{first['base']}`, {first['num_parameters']:,} parameters with its head. Equal "
        "budget: the same rows, steps, schedule and early stopping; weights chosen on validation.",
        "",
        head,
        "|---" * 9 + "|",
        *(line(name, result, others[name]) for name, result in results.items()),
    ]
    write_text(output.with_suffix(".md"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
