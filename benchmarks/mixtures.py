"""Ablations of pretraining at equal compute: mixtures, windows, patches, objectives, rates.

    python benchmarks/mixtures.py --data GENOMES --work FOLDER --part species --seeds 0 1 2

GENOMES holds `train_core`, `train_human`, `train_eukaryote`, `validation_prokaryote`,
`validation_human` and `validation_eukaryote` as `.fa.gz`. Every arm trains a small model of two
stacks (or a masked one) on one thread for a number of steps that takes `--seconds` of CPU time
with its architecture; arms of one architecture take the same number of steps. The scores are bits
per base on held-out windows that no arm trained on, and no choice is made on them. Differences
are from the first arm with the same seed. The rows are appended to FOLDER/results.jsonl; a second
call skips the rows that are there.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mixture_data import ANNOTATED, HELD_OUT, prepare

from genomeformer_cli.core.annotation.anchors import ANCHORS, anchors_of
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.mixture import SamplingConfig
from genomeformer_cli.core.data.windows import consecutive_windows
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.evaluation.masked_queries import QueryConfig, make_queries
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.objectives.loss import BITS_PER_NAT
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.training.auxiliary import AuxiliaryWeights
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.distributed import SINGLE_PROCESS
from genomeformer_cli.core.training.optimizer import build_optimizers, set_learning_rate
from genomeformer_cli.core.training.presets import PretrainConfig
from genomeformer_cli.core.training.schedule import learning_rate
from genomeformer_cli.core.workflows.run_batches import open_batches, pretraining_task, read_teacher

WINDOW, NUM_BASES, PASSES = 1_024, 32_768, 2
NUM_TIMED = 8

MODEL = ModelConfig(
    context=WINDOW,
    conv_width=4,
    patch=8,
    direction="two-stack",
    vocabulary_size=8,
)
TRAINING = TrainingConfig(
    batch_size=8,
    optimizer="muon",
    learning_rate=4e-3,
    warmup_share=0.05,
    decay_share=0.6,
    pack="skip",
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Shape of the models of a comparison, and the CPU time of a training."""

    width: int
    depth: int
    seconds: float

    @property
    def model(self) -> ModelConfig:
        """Return the model that an arm changes."""
        return replace(
            MODEL,
            width=self.width,
            depth=self.depth,
            num_heads=self.width // 32,
            mlp_width=self.width * 11 // 4,
        )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One recipe of a comparison."""

    corpus: str = "mixed"
    model: Mapping[str, Any] = field(default_factory=dict)
    masking: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)
    steps_of: Mapping[str, Any] | None = None  # Teacher whose number of steps is taken.


RATES = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3)
MASKED = {"direction": "bidirectional", "conv_width": 5}
MASKED_BASES = {**MASKED, "patch": 1}
SHORT = {"context": 256}
LOGITS = {"model": "default", "logits": 0.5}
HALF_FUNCTIONAL = {"cds-start": 0.25, "promoter": 0.125, "terminator": 0.125, "rest": 0.5}
PARTS: dict[str, dict[str, Arm]] = {
    "species": {
        "bacteria": Arm(sampling={"mix": {"bacteria": 1}}),
        "bacteria + human": Arm(sampling={"mix": {"bacteria": 1, "human": 1}}),
        "all three": Arm(sampling={"mix": {"bacteria": 1, "human": 1, "eukaryote": 1}}),
    },
    "functional": {
        "uniform": Arm(corpus=ANNOTATED, model=SHORT),
        "half functional": Arm(corpus=ANNOTATED, model=SHORT, sampling={"mix": HALF_FUNCTIONAL}),
        "functional": Arm(
            corpus=ANNOTATED,
            model=SHORT,
            sampling={"mix": {"cds-start": 2, "promoter": 1, "terminator": 1}},
        ),
    },
    "patch": {f"patch {size}": Arm(model={"patch": size}) for size in (2, 4, 8)},
    "span": {
        f"span {span}": Arm(model=MASKED, masking={"span": span, "rate": 0.15}) for span in (1, 4)
    },
    "objective": {
        "surrounding": Arm(),
        "masked": Arm(model=MASKED),
        "masked, patch 1": Arm(model=MASKED_BASES),
    },
    "rate": {f"{rate:g}": Arm(training={"learning_rate": rate}) for rate in RATES},
    "repeats": {
        "all alike": Arm(sampling={"mix": {"human": 1}}),
        "loss 0.1": Arm(sampling={"mix": {"human": 1}}, masking={"soft_mask_weight": 0.1}),
        "draw 0.1": Arm(sampling={"mix": {"human": 1}, "repeat_weight": 0.1}),
    },
    "teacher": {
        "none": Arm(),
        "none, steps of the teacher": Arm(steps_of=LOGITS),
        "probabilities": Arm(teacher=LOGITS),
        "and features": Arm(teacher={**LOGITS, "features": 0.2}),
    },
}


def cpu_seconds() -> float:
    """Return the CPU time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run the arms of one part, then print the table of all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arm", nargs="+", help="only these arms")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--width", type=int, default=128, help="a multiple of 32")
    parser.add_argument("--depth", type=int, default=6, help="blocks of a stack")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(options.work / "cache")
    prepare(options.data, options.work, store)
    results = options.work / "results.jsonl"
    rows = read_rows(results)
    budget = Budget(width=options.width, depth=options.depth, seconds=options.seconds)
    for seed in options.seeds:
        for name, arm in PARTS[options.part].items():
            key = {"part": options.part, "arm": name, "seed": seed, **asdict(budget)}
            is_finished = any(key.items() <= row.items() for row in rows)
            if name in (options.arm or [name]) and not is_finished:
                rows.append({**key, **run_arm(arm, seed, budget, store)})
                with results.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(json.dumps(rows[-1]), flush=True)
    wanted = {"part": options.part, **asdict(budget)}
    print_table([row for row in rows if wanted.items() <= row.items()])


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the seeds, and the difference from the first arm."""
    by_arm = {
        name: {row["seed"]: row for row in rows if row["arm"] == name}
        for name in dict.fromkeys(row["arm"] for row in rows)
    }
    first = next(iter(by_arm.values()), {})
    for name, own in by_arm.items():
        one = next(iter(own.values()))
        texts = []
        for key in one["bits"]:
            text = f"{key} {spread_text([row['bits'][key] for row in own.values()])}"
            paired = [
                row["bits"][key] - first[seed]["bits"][key]
                for seed, row in own.items()
                if own is not first and key in first.get(seed, {"bits": ()})["bits"]
            ]
            texts.append(text + (f" (difference {spread_text(paired)})" if paired else ""))
        seconds = fmean(row["cpu_seconds"] for row in own.values())
        size = f"{one['num_parameters'] / 1e6:.2f} M, {one['steps']} steps, {seconds:.0f} CPU s"
        print(f"{name}: {size}, {len(own)} seeds; {'; '.join(texts)}")


def spread_text(values: list[float]) -> str:
    """Return mean and standard deviation."""
    spread = f" +- {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{fmean(values):.4f}{spread}"


def configuration(arm: Arm, seed: int, steps: int, shape: ModelConfig) -> PretrainConfig:
    """Return the configuration of an arm."""
    model = replace(shape, **arm.model)
    rows = TRAINING.batch_size * WINDOW // model.context
    return PretrainConfig(
        model=model,
        masking=MaskingConfig(**arm.masking),
        sampling=SamplingConfig(**arm.sampling),
        teacher=TeacherConfig(**arm.teacher),
        training=replace(TRAINING, seed=seed, steps=steps, batch_size=rows, **arm.training),
    )


def run_arm(arm: Arm, seed: int, budget: Budget, store: Store) -> dict[str, Any]:
    """Train an arm, and score it on every held-out set."""
    corpus = Corpus(store.path(Kind.CORPORA, arm.corpus))
    steps = num_steps(arm, budget, corpus, store)
    config = with_tokens(configuration(arm, seed, steps, budget.model), corpus)
    started = cpu_seconds()
    model = train(config, corpus, store)
    spent = cpu_seconds() - started
    bits = {name: held_out_bits(model, f"held-{name}", store) for name in HELD_OUT}
    if arm.corpus == ANNOTATED:
        bits = {"bacteria": bits["bacteria"], **annotated_bits(model, corpus, store)}
    elif model.config.direction == "two-stack":
        bits |= masked_bits(model, Corpus(store.path(Kind.CORPORA, "held-human")))
    return {
        "bits": {name: round(value, 5) for name, value in bits.items()},
        "steps": steps,
        "num_parameters": model.num_parameters,
        "cpu_seconds": round(spent, 1),
    }


def with_tokens(config: PretrainConfig, corpus: Corpus) -> PretrainConfig:
    """Set the vocabulary of the model, and its complements."""
    tokenizer = corpus.tokenizer
    ids = np.arange(len(tokenizer.tokens), dtype=tokenizer.dtype)
    complement = tuple(int(tokenizer.reverse_complement(ids[n : n + 1])[0]) for n in ids)
    changed: dict[str, Any] = {"vocabulary_size": len(tokenizer.tokens)}
    if config.model.direction == "two-stack":
        changed["complement"] = complement
    return replace(config, model=replace(config.model, **changed))


def num_steps(arm: Arm, budget: Budget, corpus: Corpus, store: Store) -> int:
    """Return the steps of a CPU budget, measured once per architecture."""
    path = store.root / "steps.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    teacher = arm.teacher if arm.steps_of is None else arm.steps_of
    key = json.dumps([asdict(budget), dict(arm.model), dict(teacher)], sort_keys=True)
    if key not in known:
        alike = replace(arm, sampling={}, teacher=teacher)
        config = with_tokens(configuration(alike, 0, NUM_TIMED, budget.model), corpus)
        train(config, corpus, store, last=2)
        started = cpu_seconds()
        train(config, corpus, store)
        known[key] = max(round(budget.seconds * NUM_TIMED / (cpu_seconds() - started)), NUM_TIMED)
        path.write_text(json.dumps(known))
    return int(known[key])


def train(config: PretrainConfig, corpus: Corpus, store: Store, last: int | None = None) -> Model:
    """Train a model without a run folder, by the optimizers and the schedule of `pretrain`."""
    batches = open_batches(corpus, config, store, SilentReporter())
    model = build_model(config.model, seed=config.training.seed)
    teacher = read_teacher(config.teacher, store, SilentReporter())
    task = pretraining_task(teacher, model, corpus, config)
    optimizers = [*build_optimizers(model, config.training)]
    if task.auxiliary is not None:
        optimizers.append(AuxiliaryWeights(task.auxiliary, config.training).optimizer)
    for step in range(last or config.training.steps):
        batch = batches.make(step)
        for optimizer in optimizers:
            optimizer.zero_grad()
        task.gradients(model, batch, MemoryConfig(plan="full"), SINGLE_PROCESS)
        set_learning_rate(optimizers, learning_rate(step, config.training))
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.training.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
    return model


def held_out_bits(model: Model, name: str, store: Store) -> float:
    """Return bits per base on the held-out windows of a corpus."""
    corpus, length = Corpus(store.path(Kind.CORPORA, name)), model.config.context
    limit = NUM_BASES // length
    if model.config.direction == "two-stack":
        windows = consecutive_windows(corpus, "validation", length=length, limit=limit)
        return bits_where(model, windows.tokens_BL, np.zeros(windows.tokens_BL.shape, bool))[1]
    config = QueryConfig(length=length, max_windows=limit, passes=PASSES)
    return likelihood(model, make_queries(corpus, config)).bits_per_base


@torch.inference_mode()
def bits_where(
    model: Model, tokens_BL: npt.NDArray[Any], flags_BL: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Return bits per base of two stacks where the flags are True, and where they are not."""
    tokens = torch.from_numpy(tokens_BL.astype(np.int64))
    real = CharTokenizer().real_ids
    nats = []
    for row in torch.split(tokens, 8):
        logits = model.logits(model.hidden(row, None))[..., real.start : real.stop]
        targets = row.clamp(real.start, real.stop - 1) - real.start
        nats.append(-logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0])
    bits = torch.cat(nats).numpy() * BITS_PER_NAT
    known = (tokens_BL >= real.start) & (tokens_BL < real.stop)
    inside, outside = bits[flags_BL & known], bits[~flags_BL & known]
    return float(inside.mean()) if inside.size else float("nan"), float(outside.mean())


def masked_bits(model: Model, corpus: Corpus) -> dict[str, float]:
    """Return the bits of lower- and upper-case bases of the human windows."""
    windows = [
        (corpus.tokens(s, n, n + WINDOW), corpus.soft_mask(s, n, n + WINDOW))
        for s in corpus.segments("validation")
        for n in range(0, s.length - WINDOW, s.length // 24)
    ]
    tokens_BL, flags_BL = (np.stack(arrays) for arrays in zip(*windows, strict=True))
    lower, upper = bits_where(model, tokens_BL, flags_BL)
    return {"human repeats": lower, "human elsewhere": upper}


def annotated_bits(model: Model, corpus: Corpus, store: Store) -> dict[str, float]:
    """Return the bits on the held-out tail within 50 bases of an annotated place, and elsewhere."""
    (segment,) = corpus.segments("validation")
    folder = store.path(Kind.GENOMES, "mycoplasma")
    annotation = next(path for path in folder.iterdir() if ".gb" in path.name)
    (record,) = annotated_records(None, annotation, reporter=SilentReporter())
    near = np.zeros(record.codes.size, dtype=np.bool_)
    for place in np.concatenate([anchors_of(record, kind) for kind in ANCHORS]):
        near[max(place - 50, 0) : place + 50] = True
    length = model.config.context
    count = segment.length // length
    tokens_BL = corpus.tokens(segment, 0, count * length).reshape(count, length)
    flags_BL = near[segment.start :][: count * length].reshape(count, length)
    inside, outside = bits_where(model, tokens_BL, flags_BL)
    return {"tail near places": inside, "tail elsewhere": outside}


if __name__ == "__main__":
    main()
