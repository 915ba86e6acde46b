"""Memory and time against the length, 2^12 to 2^20 bases, of every memory plan and SLiM's code.

Three questions, each a flag of `--suite`, all in fresh processes pinned to one core:
`slim`  3 layers, width 512, 8 heads, slices of 1,024, squared features as the code of the SLiM
        paper: is memory flat, is time per token, what does full autograd take, what the reference?
`plans` 4 layers, width 256, 4 heads, slices of 2,048: what does every plan take?
`exact` are the gradients of each plan those of full autograd, in float32 and in float64?

python benchmarks/long_context.py --reference FOLDER            about 25 minutes
python benchmarks/long_context.py --suite plans --plans two-sweep --lengths 1048576
python benchmarks/long_context.py --everything                  all up to 2^20, performer too: 3 h

A step is forward and backward on random bases, one row, without an optimizer. FOLDER holds
`slim_performer_model.py` and `numerator_and_denominator.py` of google-research
(performer/models/slim_performer/pytorch), calls of `torch.cuda` taken out and the second imported
by its bare name; without it the reference is left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from memory_model import Step, picture
from processes import MIB, Limits, Row, conditions, markdown, measured_step, run_case

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.bidirectional_causal import TwoStack
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Examples

BASES = range(5, 9)
# Sizes of a suite: depth, width, heads, hidden features, tokens of a slice.
SIZES = {"slim": (3, 512, 8, 1376, 1024), "plans": (4, 256, 4, 688, 2048)}
REFERENCE, FULL_CAUSAL = "reference", "full-causal"
# How a plan is measured: shape of the model, plan, storage.
PLANS: dict[str, tuple[dict[str, Any], str, str]] = {
    "full": ({}, "full", "weights"),
    "checkpoint": ({}, "checkpoint", "weights"),
    "two-sweep": ({}, "two-sweep", "weights"),
    "two-sweep-bf16": ({}, "two-sweep", "bfloat16"),
    "reversible": ({"residual": "reversible"}, "reversible", "weights"),
    FULL_CAUSAL: ({"direction": "causal"}, "full", "weights"),
    "slim": ({"direction": "causal"}, "slim", "weights"),
    "two-stack": ({"direction": "two-stack", "tied": False}, "two-stack", "weights"),
}
# Whole rows: what grows out of hand is tried no further than this.
WHOLE = {"full": 2**15, FULL_CAUSAL: 2**16, "checkpoint": 2**17, REFERENCE: 2**14}
SHORT = {"slim": (2**12, 2**14, 2**16), "plans": (2**12, 2**14, 2**16)}
LONG = (2**18, 2**20)
# Run at 2^20 unless told otherwise: what the claims are about, and what the time allows.
TO_THE_END = {("slim", "slim", "linear"), ("plans", "two-sweep", "linear")}
EXACT_LENGTH = 2**12


def model_of(case: Row) -> Model:
    """Fresh weights, always the same."""
    depth, width, heads, hidden, _ = SIZES[case["suite"]]
    shape, _, _ = PLANS[case["plan"]]
    config = ModelConfig(
        context=case["length"],
        width=width,
        depth=depth,
        num_heads=heads,
        mlp_width=hidden,
        attention=AttentionConfig(name=case["attention"], feature_map="squared"),
        **shape,
    )
    return build_model(config)


def examples_of(model: Model, length: int) -> Examples:
    """Random bases: 15 % to predict, or all, where positions do not see themselves."""
    generator = torch.Generator().manual_seed(1)
    ids_BL = torch.randint(BASES.start, BASES.stop, (1, length), generator=generator)
    targets_BL = ids_BL
    if model.config.direction == "causal":
        targets_BL = torch.cat((ids_BL[:, 1:], torch.full((1, 1), -1)), dim=1)
    elif model.config.direction == "bidirectional":
        targets_BL = ids_BL.masked_fill(torch.rand(1, length, generator=generator) >= 0.15, -1)
    return Examples(
        inputs_BL=ids_BL, targets_BL=targets_BL, weights_BL=torch.ones(1, length), real_ids=BASES
    )


def measure(case: Row) -> Row:
    """One case; runs in a process of its own."""
    torch.manual_seed(0)
    torch.set_num_threads(case["threads"])
    if case["plan"] == REFERENCE:
        return measured_step(reference_step(case), repeats=case["repeat"])
    if case["suite"] == "exact":
        return exactness(case)
    model = model_of(case)
    examples = examples_of(model, case["length"])
    chunk = SIZES[case["suite"]][4]
    _, plan, storage = PLANS[case["plan"]]
    memory = MemoryConfig(
        plan=plan,
        chunk=chunk,
        kept=case["kept"],
        storage=storage,  # type: ignore[arg-type]
    )

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=case["precision"] == "bf16"):
            accumulate_gradients(model, examples, memory)

    usage = measured_step(step, repeats=case["repeat"])
    asked = (examples.inputs_BL, examples.targets_BL, examples.weights_BL)
    stacks = stacks_of(model) if plan in ("slim", "two-stack") else []
    slices = -(-case["length"] // chunk)
    states = sum(tensor.nbytes for stack in stacks for tensor in states_of(stack)) * slices
    return {
        **usage,
        "parameters": model.num_parameters,
        "ids_mib": sum(tensor.nbytes for tensor in asked) / MIB,
        "states_mib": states / MIB,
    }


def stacks_of(model: Model) -> list[Encoder]:
    """Every stack whose states are kept; tied ones are read twice."""
    if isinstance(model, TwoStack):
        return [model.ahead, model.back]
    assert isinstance(model, Encoder)
    return [model]


def states_of(stack: Encoder) -> list[torch.Tensor]:
    """Return the states before the first slice of a stack."""
    return [tensor for state in stack.start(1, stack.embedding.weight) for tensor in state]


def reference_step(case: Row) -> Callable[[], object]:
    """SLiM as published: squared features, its fastest kernel, the same sizes and slices."""
    sys.path.insert(0, case["reference"])
    import importlib

    module = importlib.import_module("slim_performer_model")
    depth, width, heads, _, chunk = SIZES["slim"]
    model = module.SLiMPerformer(BASES.stop, width, depth, 4 * width, heads, "sqr", "iter", True)  # noqa: FBT003
    generator = torch.Generator().manual_seed(1)
    shape = (1, case["length"] + 1)
    ids_BL = torch.randint(BASES.start, BASES.stop, shape, generator=generator)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model.loss_with_grad(ids_BL, chunk)

    return step


def exactness(case: Row) -> Row:
    """Relative error of all gradients together against full autograd's, by dtype."""
    found: Row = {}
    for dtype in (torch.float32, torch.float64):
        model = model_of({**case, "suite": "plans"}).to(dtype)
        examples = examples_of(model, case["length"])
        wanted, ours = (
            gradients(model, examples, MemoryConfig(plan=plan, chunk=512, storage=storage))  # type: ignore[arg-type]
            for plan, storage in (("full", "weights"), PLANS[case["plan"]][1:])
        )
        name = str(dtype).removeprefix("torch.")
        found[name] = float((ours - wanted).norm() / wanted.norm())
        if dtype is torch.float32:
            single = wanted
        else:
            found["rounding"] = float((single.double() - wanted).norm() / wanted.norm())
    return found


def gradients(model: Model, examples: Examples, memory: MemoryConfig) -> torch.Tensor:
    """All gradients as one vector."""
    model.zero_grad(set_to_none=True)
    accumulate_gradients(model, examples, memory)
    return torch.cat(
        [one.grad.flatten() for one in model.parameters() if one.grad is not None]
    ).clone()


def cases(options: argparse.Namespace) -> list[Row]:
    """Return the cases, short rows first."""
    found: list[Row] = []
    attentions = ["linear", "performer"] if options.everything else options.attentions
    of_suite = {"slim": ["slim", FULL_CAUSAL], "plans": [*PLANS]}
    for suite in ("slim", "plans"):
        for plan, attention in itertools.product(of_suite[suite], attentions):
            far = LONG[-1:] if (suite, plan, attention) in TO_THE_END else ()
            further = LONG if options.everything else far
            lengths = options.lengths or [*SHORT[suite], *further]
            found += [
                {"suite": suite, "plan": plan, "attention": attention, "length": length}
                for length in lengths
                if length <= WHOLE.get(plan, length)
            ]
    if options.reference is not None:
        for length in options.lengths or SHORT["slim"]:
            if length <= WHOLE[REFERENCE]:
                case = {"suite": "slim", "plan": REFERENCE, "attention": "linear", "length": length}
                found.append({**case, "reference": str(options.reference.resolve())})
    exact = [plan for plan in PLANS if not plan.startswith("full")]
    for plan, attention in itertools.product(exact, attentions):
        found.append(
            {"suite": "exact", "plan": plan, "attention": attention, "length": EXACT_LENGTH}
        )
    wanted = [
        case
        for case in found
        if case["suite"] in options.suite and (not options.plans or case["plan"] in options.plans)
    ]
    return sorted(wanted, key=lambda case: case["length"])


def run(options: argparse.Namespace) -> list[Row]:
    """Every case, and why some came to no end."""
    limits = Limits(
        seconds=options.max_seconds, gigabytes=options.max_memory, threads=options.threads
    )
    rows: list[Row] = []
    for case in cases(options):
        repeat = 2 if case["length"] <= 2**14 else 1
        row = run_case(
            __file__,
            {
                **case,
                "precision": options.precision,
                "kept": options.kept,
                "threads": options.threads,
                "repeat": repeat,
            },
            limits,
        )
        rows.append(row)
        head = " ".join(str(row[key]) for key in ("suite", "plan", "attention", "length"))
        said = row.get("skipped") or " ".join(
            f"{key}={row[key]:.4g}" for key in ("cpu_s", "peak_mib", "float32") if key in row
        )
        print(f"{head}: {said}", file=sys.stderr)
    return rows


def table(rows: list[Row], suite: str) -> str:
    """Return the table of a suite."""
    header = ["plan", "attention", "L", "process MiB", "MiB over start", "of them ids", "states"]
    header += ["CPU s", "us/token", "tokens/CPU s"]
    lines = []
    for row in sorted(
        (row for row in rows if row["suite"] == suite),
        key=lambda row: (row["attention"], row["plan"], row["length"]),
    ):
        start = [row["plan"], row["attention"], f"{row['length']:,}"]
        if "skipped" in row:
            lines.append([*start, f"left out: {row['skipped']}", *[""] * 6])
            continue
        lines.append(
            [
                *start,
                f"{row['peak_mib']:,.0f}",
                f"{row['grown_mib']:,.0f}",
                f"{row['ids_mib']:.1f}" if "ids_mib" in row else "",
                f"{row['states_mib']:.0f}" if row.get("states_mib") else "",
                f"{row['cpu_s']:.2f}",
                f"{row['cpu_s'] / row['length'] * 1e6:.0f}",
                f"{row['length'] / row['cpu_s']:,.0f}",
            ]
        )
    return markdown(header, lines)


def claims(rows: list[Row]) -> str:
    """Each claim beside what was measured; only what was measured is judged."""
    at = {
        (row["suite"], row["plan"], row["attention"], row["length"]): row
        for row in rows
        if "skipped" not in row
    }
    lines: list[list[str]] = []

    def judge(claim: str, where: str, number: float, *, most: float, unit: str = "") -> None:
        lines.append([claim, where, f"{number:.3g}{unit}", f"{most:g}{unit}", _holds(number, most)])

    for attention in ("linear", "performer"):
        slim = {key[3]: row for key, row in at.items() if key[:3] == ("slim", "slim", attention)}
        if len(slim) > 1:
            short, long = min(slim), max(slim)
            span = f"slim, {attention}, {long:,} against {short:,}"
            bare = {length: lean(row) for length, row in slim.items()}
            judge("flat memory, ids and states apart", span, bare[long] / bare[short], most=1.1)
            pace = [row["cpu_s"] / length for length, row in slim.items() if length >= 2**14]
            if len(pace) > 1:
                judge("time per token", f"{span}, spread", max(pace) / min(pace), most=1.1)
        for length, row in slim.items():
            full = at.get(("slim", FULL_CAUSAL, attention, length))
            other = at.get(("slim", REFERENCE, "linear", length))
            place = f"slim, {attention}, {length:,}"
            if full:
                judge("CPU s of full autograd", place, row["cpu_s"] / full["cpu_s"], most=1.2)
            if other:
                ratio = row["cpu_s"] / other["cpu_s"]
                judge("CPU s of the reference", place, ratio, most=0.25)
        for plan, most in (("two-sweep", 4.5), ("two-stack", 1.5)):
            million = at.get(("plans", plan, attention, 2**20))
            if million:
                peak = million["peak_mib"] / 1024
                judge("process at 2^20 bases", f"{plan}, {attention}", peak, most=most, unit=" GiB")
    return markdown(["claim", "where", "measured", "at most", "verdict"], lines)


def _holds(number: float, most: float) -> str:
    return "holds" if number <= most else "fails"


def lean(row: Row) -> float:
    """The process without what must grow: ids, and a state a slice."""
    return float(row["peak_mib"] - row["ids_mib"] - row["states_mib"])


def exact_table(rows: list[Row]) -> str:
    """Return the differences of the gradients of each plan from those of full autograd."""
    header = ["plan", "attention", "L", "float64", "float32", "float32 autograd against float64"]
    lines = [
        [
            row["plan"],
            row["attention"],
            f"{row['length']:,}",
            *(f"{row[key]:.1e}" for key in ("float64", "float32", "rounding")),
        ]
        for row in rows
        if row["suite"] == "exact" and "skipped" not in row
    ]
    return markdown(header, lines)


def main() -> None:
    """Run the cases; tables to stdout, progress to stderr."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    suites = ("slim", "plans", "exact")
    parser.add_argument("--suite", nargs="+", choices=suites, default=suites)
    parser.add_argument("--plans", nargs="+", choices=[*PLANS, REFERENCE], help="only these")
    parser.add_argument("--lengths", type=int, nargs="+", help="lengths for all plans")
    attentions = ("linear", "performer")
    parser.add_argument("--attentions", nargs="+", choices=attentions, default=["linear"])
    parser.add_argument("--everything", action="store_true")
    parser.add_argument("--reference", type=Path, help="folder of the paper's code")
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16"],
        default="fp32",
        help="precision of our steps; bf16 is autocast",
    )
    parser.add_argument(
        "--kept", type=int, default=1, help="slices that `slim` computes once; a run keeps six"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-seconds", type=float, default=3000, help="wall time of a case")
    parser.add_argument("--max-memory", type=float, default=16.0, help="GiB of a process")
    parser.add_argument("--json", type=Path, help="file for every figure")
    parser.add_argument("--picture", type=Path, help="file for the picture")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(json.loads(options.case))))
        return
    rows = run(options)
    print(f"## Claims\n\n{claims(rows)}\n")
    for suite, (depth, width, heads, _, chunk) in SIZES.items():
        print(f"## {depth} layers, width {width}, {heads} heads, slices of {chunk:,}\n")
        print(f"{table(rows, suite)}\n")
    print(f"## Gradients against full autograd, relative error\n\n{exact_table(rows)}\n")
    print(f"{conditions()}, {options.threads} threads")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if options.picture:
        steps = {
            suite: Step(depth=depth, width=width, heads=heads, chunk=chunk)
            for suite, (depth, width, heads, _, chunk) in SIZES.items()
            if suite in options.suite
        }
        picture(rows, steps, options.picture)


if __name__ == "__main__":
    main()
