"""A training step with every mechanism of the registry beside the same mechanism in other packages.

Forward, backward and AdamW of a masked-prediction encoder of 4 layers, width 256, 4 heads, about
1,024 hidden features an MLP; at least 4,096 tokens a step, in rows of each length. Each case runs
in a fresh process pinned to one core: CPU and wall seconds of the fastest step but the first, and
the most memory resident, less what was resident before the first step. All see the same ids and
predict the same 15 % of them. Alike are the sizes, the number of parameters (printed), the dials of
the mechanism, and that the loss is taken at what was asked alone. Not alike: ours normalise queries
and keys per head and turn them by their positions (RoPE; of the peers only local-attention has
it), ours have gated MLPs of the same size, peers have biases, and learned positions where their
package brings them; of the last block ours compute only what the predicted tokens need
(`Encoder.hidden_at`; same loss, same gradients), peers compute it whole.

With `--precisions fp32 bf16` every case runs in both, bf16 being autocast, ours and theirs. Peers
leave that to whoever uses them; `pretrain` measures and chooses, so the last column puts our faster
one beside the peer as it comes, in fp32.

python benchmarks/attention.py                                  about 13 minutes
python benchmarks/attention.py --lengths 8192 --mechanisms performer --peers performer-pytorch
python benchmarks/attention.py --lengths 8192 --precisions fp32 bf16
python benchmarks/attention.py --lengths 131072 --seconds 1 --max-memory 21 --touch 19

What is longer than `--max-seconds` a step, going by shorter rows, or larger than `--max-memory` is
left out, and said to be. Needs `pip install --group bench`; what is missing is left out too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from peers import PEERS, Size, is_installed
from processes import Limits, Row, conditions, markdown, measured_step, run_case, touch
from torch import Tensor, nn
from torch.nn import functional

from genomeformer_cli.core.attention.registry import ATTENTIONS, AttentionConfig
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Examples

LENGTHS = (512, 2048, 8192, 32768, 131072)
TOKENS = 4096
# Three matrices instead of two, each two thirds as wide and a multiple of 16.
GATED_HIDDEN = 688
MASKED = 0.15
REVERSIBLE = "reformer-reversible"
QUADRATIC = {"softmax", "torch-encoder"}
# What each mechanism is to reach: times the tokens a second of the fastest of its peers.
TARGETS = {
    "performer": 2.0,
    "longformer": 2.5,
    "reformer": 1.8,
    "nystromformer": 1.2,
    "linformer": 1.0,
    "linear": 1.0,
    "local": 1.0,
    "softmax": 1.0,
}


def our_step(
    name: str, size: Size, *, causal: bool = False
) -> tuple[nn.Module, Callable[[Tensor, Tensor], None]]:
    """Our encoder and what computes its gradients."""
    reversible = name == REVERSIBLE
    config = ModelConfig(
        vocabulary_size=size.vocabulary,
        context=size.length,
        width=size.width,
        depth=size.depth,
        num_heads=size.heads,
        mlp_width=GATED_HIDDEN,
        attention=AttentionConfig(
            name=name.removesuffix("-reversible"),
            num_features=size.features,
            window=size.window,
            hash_rounds=size.rounds,
            hash_chunk=size.chunk,
            num_projected=size.projected,
            num_landmarks=size.landmarks,
            inverse_iterations=size.iterations,
            value_conv_width=size.convolution,
        ),
        residual="reversible" if reversible else "plain",
        direction="causal" if causal else "bidirectional",
    )
    model = build_model(config)
    memory = MemoryConfig(plan="reversible" if reversible else "full")

    def gradients(ids_BL: Tensor, asked_BL: Tensor) -> None:
        examples = Examples(
            inputs_BL=ids_BL,
            targets_BL=torch.where(asked_BL, ids_BL, -1),
            weights_BL=torch.ones(ids_BL.shape, device=ids_BL.device),
            real_ids=range(size.vocabulary),
        )
        accumulate_gradients(model, examples, memory)

    return model, gradients


def peer_step(name: str, size: Size) -> tuple[nn.Module, Callable[[Tensor, Tensor], None]]:
    """A peer's encoder and what computes its gradients."""
    model = PEERS[name][2](size)

    def gradients(ids_BL: Tensor, asked_BL: Tensor) -> None:
        logits = model.head(model.features(ids_BL)[asked_BL])
        torch.autograd.backward(functional.cross_entropy(logits, ids_BL[asked_BL]))

    return model, gradients


def measure(case: Row) -> Row:
    """One case; runs in a process of its own."""
    torch.manual_seed(0)
    torch.set_num_threads(case["threads"])
    touch(case["touch"])
    size = Size(length=case["length"])
    build = our_step if case["ours"] else peer_step
    model, gradients = build(case["name"], size)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    shape = (case["rows"], size.length)
    generator = torch.Generator().manual_seed(1)
    ids_BL = torch.randint(5, 9, shape, generator=generator)
    asked_BL = torch.rand(shape, generator=generator) < MASKED

    is_bf16 = case["precision"] == "bf16"

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            gradients(ids_BL, asked_BL)
        optimizer.step()

    usage = measured_step(step, repeats=case["repeat"] + 1, budget=case["budget"])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tokens = shape[0] * shape[1]
    return {
        **usage,
        "parameters": parameters,
        "tokens_per_cpu_s": tokens / usage["cpu_s"],
        "tokens_per_wall_s": tokens / usage["wall_s"],
    }


def run(options: argparse.Namespace) -> list[Row]:
    """Every case of every length, and why some were left out."""
    cases = [(name, True, name) for name in options.mechanisms]
    cases += [(name, False, PEERS[name][1]) for name in options.peers]
    if "reformer" in options.mechanisms:
        cases.append((REVERSIBLE, True, "reformer"))
    limits = Limits(
        seconds=60 + 4 * options.max_seconds, gigabytes=options.max_memory, threads=options.threads
    )
    rows: list[Row] = []
    last: dict[tuple[str, str], Row] = {}
    for length, precision in itertools.product(options.lengths, options.precisions):
        for name, ours, mechanism in cases:
            case: Row = {
                "name": name,
                "ours": ours,
                "mechanism": mechanism,
                "precision": precision,
                "length": length,
                "rows": max(TOKENS // length, 1),
                "repeat": options.repeat,
                "budget": options.seconds,
                "threads": options.threads,
                "touch": options.touch,
            }
            why = objection(case, last.get((name, precision)), options.max_seconds)
            row = {**case, "skipped": why} if why else run_case(__file__, case, limits)
            last[name, precision] = row
            rows.append(row)
            print(sentence(row), file=sys.stderr)
    return rows


def objection(case: Row, last: Row | None, max_seconds: float) -> str:
    """Why a case is not even tried; empty if it is."""
    if not case["ours"] and not is_installed(case["name"]):
        return "not installed"
    if last is None:
        return ""
    if "skipped" in last:
        return f"already at {last['length']:,}: {last['skipped']}"
    longer = case["length"] * case["rows"] / (last["length"] * last["rows"])
    if case["name"] in QUADRATIC:
        longer *= case["length"] / last["length"]
    seconds = last["cpu_s"] * longer
    return f"about {seconds:.0f} s a step" if seconds > max_seconds else ""


def sentence(row: Row) -> str:
    """A case as it ends."""
    head = f"{row['length']:>7} {row['precision']} {'ours ' if row['ours'] else ''}{row['name']}"
    if "skipped" in row:
        return f"{head}: left out, {row['skipped']}"
    return (
        f"{head}: {row['tokens_per_cpu_s']:,.0f} tokens a CPU second, {row['grown_mib']:,.0f} MiB, "
        f"{row['parameters'] / 1e6:.2f} M parameters, {row['steps']} steps"
    )


def counterparts(row: Row, rows: list[Row]) -> list[Row]:
    """The peers of one of our cases that were measured at its length, in its precision."""
    alike = ("mechanism", "length", "precision")
    return [
        one
        for one in rows
        if not one["ours"]
        and "skipped" not in one
        and all(one[field] == row[field] for field in alike)
    ]


def best_of(row: Row, rows: list[Row]) -> float:
    """Tokens a CPU second of one of our cases, in the precision that suits it best."""
    return max(
        float(one["tokens_per_cpu_s"])
        for one in rows
        if one["ours"]
        and "skipped" not in one
        and all(one[field] == row[field] for field in ("name", "length"))
    )


def all_cases(rows: list[Row]) -> str:
    """Every case."""
    header = ["L", "precision", "case", "parameters", "tokens/CPU s", "tokens/s", "MiB"]
    header += ["process MiB", "steps"]
    lines = []
    for row in rows:
        name = f"ours: {row['name']}" if row["ours"] else row["name"]
        start = [f"{row['length']:,}", row["precision"], name]
        if "skipped" in row:
            lines.append([*start, f"left out: {row['skipped']}", *[""] * 5])
            continue
        lines.append(
            [
                *start,
                f"{row['parameters']:,}",
                f"{row['tokens_per_cpu_s']:,.0f}",
                f"{row['tokens_per_wall_s']:,.0f}",
                f"{row['grown_mib']:,.0f}",
                f"{row['peak_mib']:,.0f}",
                str(row["steps"]),
            ]
        )
    return markdown(header, lines)


def targets(rows: list[Row]) -> str:
    """Ours beside each counterpart, and what was aimed at."""
    header = ["L", "precision", "mechanism", "peer", "times its tokens/CPU s", "aim"]
    header += ["times its MiB", "verdict", "our better precision beside fp32"]
    lines = []
    for row in rows:
        if not row["ours"] or "skipped" in row:
            continue
        found = counterparts(row, rows)
        aim = TARGETS.get(row["mechanism"])
        fastest = max((one["tokens_per_cpu_s"] for one in found), default=0.0)
        for peer in found:
            faster = row["tokens_per_cpu_s"] / peer["tokens_per_cpu_s"]
            memory = row["grown_mib"] / peer["grown_mib"]
            judged = aim is not None and peer["tokens_per_cpu_s"] == fastest
            verdicts = ["faster than aimed at" if faster >= (aim or 0) else "too slow"] * judged
            verdicts += ["less memory" if memory < 1 else "more memory"]
            as_it_comes = best_of(row, rows) / peer["tokens_per_cpu_s"]
            lines.append(
                [
                    f"{row['length']:,}",
                    row["precision"],
                    row["name"],
                    peer["name"],
                    f"{faster:.2f}",
                    f"{aim:g}" if judged and aim else "",
                    f"{memory:.2f}",
                    ", ".join(verdicts),
                    f"{as_it_comes:.2f}" if row["precision"] == "fp32" else "",
                ]
            )
    return markdown(header, lines)


def picture(rows: list[Row], path: Path) -> None:
    """Tokens a second and memory against the length; peers dashed, in the mechanism's colour."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
    palette = pyplot.get_cmap("tab20")
    colours = {mechanism: palette(index) for index, mechanism in enumerate([*ATTENTIONS, ""])}
    names = dict.fromkeys((row["name"], row["ours"], row["mechanism"]) for row in rows)
    for panel, field, label in zip(
        panels, ("tokens_per_cpu_s", "grown_mib"), ("tokens per CPU second", "MiB"), strict=True
    ):
        for name, ours, mechanism in names:
            points = sorted(
                (row["length"], row[field])
                for row in rows
                if row["name"] == name and row["ours"] == ours and "skipped" not in row
            )
            if points:
                panel.loglog(
                    *zip(*points, strict=True),
                    color=colours[mechanism],
                    linestyle="-" if ours else "--",
                    marker="o" if ours else "x",
                    label=f"ours: {name}" if ours else name,
                    base=2,
                )
        panel.set_xlabel("length of a row")
        panel.set_ylabel(label)
        panel.set_yscale("log", base=10)
        panel.grid(visible=True, alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    figure.suptitle(f"Training step on one core, at least {TOKENS:,} tokens")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run every case; tables to stdout, progress to stderr."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--mechanisms", nargs="*", choices=ATTENTIONS, default=[*ATTENTIONS])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS])
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--repeat", type=int, default=4, help="timed steps, at most")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="CPU seconds after which no further step begins"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-seconds", type=float, default=30.0, help="CPU seconds of a step")
    parser.add_argument("--max-memory", type=float, default=12.0, help="GiB of a process")
    parser.add_argument(
        "--touch", type=float, default=0.0, help="GiB that each process uses once before it begins"
    )
    parser.add_argument("--json", type=Path, help="file for every figure")
    parser.add_argument("--picture", type=Path, help="file for the picture")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(json.loads(options.case))))
        return
    rows = run(options)
    print(f"## Ours beside their counterparts\n\n{targets(rows)}\n")
    print(f"## All cases\n\n{all_cases(rows)}\n")
    print(f"{Size(length=0)}\n{conditions()}, {options.threads} threads")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if options.picture:
        first = options.precisions[0]
        picture([row for row in rows if row["precision"] == first], options.picture)


if __name__ == "__main__":
    main()
