"""Is pretraining worth it? Fine-tuning against the same model from scratch, at equal budget.

Tasks of a folder with an `INDEX.tsv`, beside the floors of that index and what others published
(`finetune_tables.py`). Cells (a task, a seed, pretrained or from scratch) run in worker processes
that share a device; each result is a line of OUTPUT.jsonl as soon as it is there. The same command
again goes on with what is missing; what matters most comes first, so that a deadline costs the
least.

    python benchmarks/finetune.py --tasks TASKS --model MODEL --jobs 12 --deadline 240 -o tables

`--tune` tries settings instead and chooses by the validation rows alone; its choice is written to
OUTPUT.chosen.json, which `--chosen` takes.

    python benchmarks/finetune.py --tasks TASKS --model MODEL --tune --jobs 12 -o tuned
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from finetune_cells import FLOORS, Cell, Place, Record, Workers, read_results
from finetune_grid import BASE, EPOCHS_TIMES, GRID, SCRATCH_RATES, choose, merged, single, together
from finetune_tables import chosen_by, known, table, tally, tuning_table, whole
from processes import conditions

from genomeformer_cli.core.configuration import overlay, to_plain
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.summary import PRETRAINED, SCRATCH
from genomeformer_cli.core.model_io.model_folder import read_model, weights_digest
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.atomic import write_json, write_text
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.devices import choose_device

# The most important tasks come first.
TASKS = (
    *("gue_tf_0", "gue_tf_2", "gue_tf_3"),
    *("gue_prom_prom_core_all", "gue_prom_prom_core_notata", "gue_prom_prom_300_tata"),
    *("gue_mouse_2", "gue_mouse_3", "gue_mouse_4"),
    *("umarov_ecoli_sigma70", "umarov_mouse_tata", "umarov_arabidopsis_tata"),
    *("umarov_arabidopsis_nontata", "ecoli_promoter_regulondb", "coding_strand_200bp"),
)
# Small and large, with and without a direction.
TUNED = ("gue_mouse_2", "gue_tf_2", "gue_prom_prom_300_tata", "umarov_ecoli_sigma70")
# Shares of the time of `--tune` after which single dials end, and dials together.
_SHARES = (0.6, 0.85)
# A factor binds whichever strand it stands on, and wherever; a promoter has a direction, and its
# rows are laid at its start.
ANYWHERE = ("gue_tf", "gue_mouse", "guelow_mouse", "ienhancer")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings that all cells share."""

    index: Mapping[str, Mapping[str, str]]  # Rows of `INDEX.tsv`, by task.
    base: Mapping[str, Any]  # Settings of every cell, those of the task left out.
    base_sha256: str  # Checksum of the pretrained weights.
    chosen: argparse.Namespace  # The command line.

    def cell(
        self, task: str, origin: str, seed: int, changes: tuple[str, Mapping[str, Any]]
    ) -> Cell:
        """A cell; settings that follow from the task are given way by those that were asked for."""
        row, limit = self.index[task], self.chosen.limit
        num_rows = min(int(row["train"]), limit) if limit else int(row["train"])
        usual = of_task(task, num_rows, linear=self.chosen.linear)
        plain = merged(merged(usual, self.base), changes[1])
        if origin == SCRATCH:
            # Random weights cannot stay, nor learn slowly.
            plain = merged(plain, {"tuning": {"method": "full", "layer_decay": 1.0}})
        plain["epochs"] *= plain.pop(EPOCHS_TIMES, 1.0)
        config = overlay(
            FinetuneConfig(), {"compute": {"precision": "fp32"}, **plain}, where="settings"
        )
        return Cell(
            task=task,
            origin=origin,
            seed=seed,
            setting=changes[0],
            plain=to_plain(config),
            num_rows=num_rows,
            base_sha256=self.base_sha256,
            rows_sha256=row["sha256"],
            limit=limit,
            precision=self.chosen.precision,
            tested=not self.chosen.tune,
        )


def main() -> None:
    """Run what is missing; write the table."""
    chosen = arguments().parse_args()
    started = time.monotonic()
    with (chosen.tasks / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        index = {row["task"]: row for row in csv.DictReader(file, delimiter="\t")}
    default = TUNED if chosen.tune else TASKS
    wanted = [one for one in index if any(one.startswith(some) for some in chosen.only)]
    tasks = wanted if chosen.only else [one for one in default if one in index]
    if not tasks:
        sys.exit(f"no such task in `{chosen.tasks}`")
    folder = model_folder(chosen.model, store=Store(), reporter=SilentReporter())
    plan = Plan(
        index=index,
        base=settings(chosen),
        base_sha256=weights_digest(read_model(folder).model),
        chosen=chosen,
    )
    place = Place(
        tasks=chosen.tasks,
        base=folder,
        device=chosen.device,
        threads=chosen.threads,
        scratch=chosen.scratch,
        start=chosen.start,
    )
    results = Results(chosen.output.with_suffix(".jsonl"))
    until = started + chosen.deadline
    with Workers(place, chosen.jobs, until, chosen.grace, results.add) as workers:
        write = tuned if chosen.tune else compared
        write(plan, tasks, results, workers)
    seconds = time.monotonic() - started
    device = choose_device(chosen.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    print(
        f"\n{seconds:.0f} s, {results.num_steps:,} steps ({results.num_steps / seconds:.0f} a "
        f"second) with {chosen.jobs} jobs on {name}, {chosen.precision}; {conditions()}"
    )


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", type=Path, required=True, help="folder with INDEX.tsv")
    parser.add_argument("--model", required=True)
    parser.add_argument("--only", action="append", default=[], help="beginnings of names of tasks")
    parser.add_argument("--seeds", type=int, help="pretrained; default: 5, to tune 1")
    parser.add_argument("--scratch-seeds", type=int, help="default: 3, to tune 1")
    parser.add_argument("--set", action="append", default=[], help="tuning.dropout=0.2, training.*")
    parser.add_argument(
        "--linear", action="store_true", help="beside a linear model of k-mers, or of places too"
    )
    parser.add_argument("--chosen", type=Path, help="settings that `--tune` chose")
    parser.add_argument("--tune", action="store_true", help="choose settings by validation")
    parser.add_argument(
        "--dial", action="append", default=[], choices=list(GRID), help="of --tune; default: all"
    )
    parser.add_argument(
        "--floors", action="store_true", help="of --tune: fit the baselines of `finetune` as well"
    )
    parser.add_argument("--limit", type=int, default=0, help="rows of a part at most; 0: all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes at once")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each")
    parser.add_argument("--start", choices=["forkserver", "spawn"], default="forkserver")
    parser.add_argument("--scratch", type=Path, help="folder for what runs write and nobody keeps")
    parser.add_argument(
        "--deadline",
        type=float,
        default=float("inf"),
        help="seconds by which the last cell should be done; 0: only the table of what is there",
    )
    parser.add_argument("--grace", type=float, default=60, help="seconds until others are given up")
    parser.add_argument("-o", "--output", type=Path, default=Path("finetune"))
    return parser


def settings(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the requested settings, which all tasks share."""
    plain: dict[str, Any] = {}
    if chosen.chosen:
        plain = json.loads(chosen.chosen.read_text(encoding="utf-8"))
    for setting in chosen.set:
        plain = merged(plain, nested(setting))
    return plain


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


def of_task(task: str, num_rows: int, *, linear: bool) -> dict[str, Any]:
    """Strands and places, and of many rows larger steps and fewer epochs."""
    epochs, batch_size = (10.0, 32) if num_rows < 4_000 else (8.0, 64)
    if num_rows >= 16_000:
        epochs, batch_size = 5.0, 128
    anywhere = task.startswith(ANYWHERE)
    return {
        "epochs": epochs,
        # Asked for with `--set network=on`.
        "network": "off",
        "tuning": {
            "strands": "average" if anywhere else "given",
            # As many as the other places that a base can have in a patch of the default model.
            "shift": 7 if anywhere else 0,
            "linear": ("kmers" if anywhere else "both") if linear else "none",
            "kmer": 7 if anywhere else 6,
            "tokens_per_batch": 65_536,
        },
        "training": {"batch_size": batch_size},
    }


class Results:
    """The lines of the file of results.

    Args:
        path: Of it.

    Attributes:
        found: What is there, by key.
        num_steps: Taken since it was opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found = read_results(path)
        self.num_steps = 0
        self._started = time.monotonic()

    def add(self, record: Record) -> None:
        """Write a line, and tell."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        name = f"{record['task']} {record['origin']} {record['seed']} [{record['setting']}]"
        at = f"{time.monotonic() - self._started:6.1f} s"
        if "failed" in record:
            print(f"{at}  {name}: {record['failed']}", file=sys.stderr, flush=True)
            return
        self.found[record["key"]] = record
        self.num_steps += record["steps"]
        if "floors" in record:
            print(f"{at}  {name}: {record['seconds']} CPU s", file=sys.stderr, flush=True)
            return
        scores = [f"validation {100 * record['validation']['measures'].get('mcc', 0):.2f}"]
        if "test" in record:
            scores.append(f"test {100 * record['test']['measures'].get('mcc', 0):.2f}")
        steps = f"best step {record['best_step']} of {record['steps']}, {record['seconds']} s"
        print(f"{at}  {name}: {', '.join(scores)}; {steps}", file=sys.stderr, flush=True)

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those that are not there; a setting that is a task's base under another name is one."""
        return list({one.key: one for one in cells if one.key not in self.found}.values())

    def of(self, cells: Sequence[Cell]) -> list[Record]:
        """Return the records of cells, under the present names of their settings."""
        there = [one for one in cells if one.key in self.found]
        return [{**self.found[one.key], "setting": one.setting} for one in there]


def compared(plan: Plan, tasks: Sequence[str], results: Results, workers: Workers) -> None:
    """Pretrained and from scratch, on the test rows."""
    cells = queue(plan, tasks)
    left = workers.run(results.missing(cells))
    records = results.of(cells)
    others = {task: known(plan.index[task]) for task in tasks}
    text = f"{table(records, others)}\n\n{tally(records, others)}"
    weights = max((one["num_parameters"] for one in records), default=0)
    words = (
        f"Matthews correlation times 100 on the test rows: mean ± standard deviation (seeds); "
        f"`{Path(plan.chosen.model).name}`, {weights:,} parameters with its head. Equal budget: "
        "the same rows, steps, schedule and early stopping; weights chosen on validation. "
        f"{len(records)} cells, {len(left)} missing."
    )
    write_text(plan.chosen.output.with_suffix(".md"), f"{words}\n\n{text}\n")
    print(f"{words}\n\n{text}")


def queue(plan: Plan, tasks: Sequence[str]) -> list[Cell]:
    """Three seeds of everything first, pretrained before scratch; large tasks begin a round."""
    num_seeds = plan.chosen.seeds or 5
    num_scratch = 3 if plan.chosen.scratch_seeds is None else plan.chosen.scratch_seeds
    cells = []
    for seeds in (range(3), range(3, max(num_seeds, num_scratch))):
        for origin, number in ((PRETRAINED, num_seeds), (SCRATCH, num_scratch)):
            for seed in (one for one in seeds if one < number):
                of_round = [plan.cell(task, origin, seed, (BASE, {})) for task in tasks]
                cells += sorted(of_round, key=lambda one: one.work, reverse=True)
    return cells


def tuned(plan: Plan, tasks: Sequence[str], results: Results, workers: Workers) -> None:
    """Every dial by itself, then what gained together; then the rate of random weights."""
    started = time.monotonic()
    single_end, together_end = (started + share * plan.chosen.deadline for share in _SHARES)

    def tried(
        origin: str, settings: Mapping[str, Mapping[str, Any]], number: int, until: float
    ) -> list[Record]:
        cells = [
            plan.cell(task, origin, seed, changes)
            for seed in range(number)
            for changes in settings.items()
            for task in tasks
        ]
        workers.run(results.missing(cells), until)
        return results.of(cells)

    num_seeds = plan.chosen.seeds or 1
    every = single(plan.chosen.dial)
    records = tried(PRETRAINED, every, num_seeds, single_end)
    joined = together(whole(chosen_by(records), tasks))
    records += tried(PRETRAINED, joined, num_seeds, together_end)
    every |= joined
    floors = tried(FLOORS, {FLOORS: {}}, 1, together_end) if plan.chosen.floors else []
    best = choose(whole(chosen_by(records), tasks))
    rates = {
        name: merged(every[best], {"scratch_rate": rate}) for name, rate in SCRATCH_RATES.items()
    }
    num_scratch = 1 if plan.chosen.scratch_seeds is None else plan.chosen.scratch_seeds
    of_twin = tried(SCRATCH, rates, num_scratch, float("inf"))
    means = {name: fmean(one.values()) for name, one in whole(chosen_by(of_twin), tasks).items()}
    plain = merged(plan.base, every[best])
    if means:
        plain["scratch_rate"] = SCRATCH_RATES[max(means, key=lambda name: means[name])]
    records += [
        {**one, **floor, "setting": floor["name"], "seconds": floor["cpu_seconds"]}
        for one in floors
        for floor in one["floors"]
    ]
    text = (
        f"Best Matthews correlation times 100 on the validation rows, seeds {num_seeds}; "
        f"`{Path(plan.chosen.model).name}`. Chosen: {best}: `{json.dumps(plain)}`.\n\n"
        f"{tuning_table(records, tasks)}\n\nFrom scratch, otherwise as chosen:\n\n"
        f"{tuning_table(of_twin, tasks)}\n"
    )
    write_text(plan.chosen.output.with_suffix(".md"), text)
    write_json(plan.chosen.output.with_suffix(".chosen.json"), plain)
    print(text)


if __name__ == "__main__":
    main()
