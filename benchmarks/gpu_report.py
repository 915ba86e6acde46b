"""Everything to be measured on a GPU, in twelve minutes: `make gpu`.

Each part runs in a process of its own with a budget of seconds: a part that fails, hangs or crashes
the device is a line in the report, and the next one runs. Figures go to `--folder`, one JSON file
and one log per part; an entry per part goes to the top of the page of experiments.

    python benchmarks/gpu_report.py                       # on a machine with a GPU
    python benchmarks/gpu_report.py --dry-run             # tiny sizes on a CPU, entries to stdout
    python benchmarks/gpu_report.py --parts steps mfu
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from one_device import GIB, Row

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "experiments" / "gpu.md"
DEADLINE = 720.0
# Fields that name a cell.
_TITLE = (
    *("length", "case", "mechanism", "heads", "compile", "kernel"),
    *("attention", "precision", "kernels", "processes"),
)
# What a part needs to end by itself once its own deadline has passed.
_GRACE = 12.0
# Dense bf16, as NVIDIA states it for an H100; the share of it that is wanted.
STATED, WANTED = 989e12, 0.45

Summary = Callable[[list[Row]], tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the report."""

    name: str
    question: str  # Heading of the entry.
    seconds: float  # Budget.
    command: str  # Arguments of Python; a script also takes `--json` and `--deadline`.
    tiny: str  # Arguments of the dry run.
    summarise: Summary  # Result and verdict from the rows.


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """End of a part."""

    part: Part
    rows: list[Row]  # Rows that were written, even if the part failed later.
    about: str  # Device and version.
    failure: str  # Reason why the part did not end well; empty if it did.
    seconds: float  # Seconds that it took.


def main(given: Sequence[str] | None = None, parts: Sequence[Part] | None = None) -> int:
    """Run the parts; return 1 if one failed."""
    selected = PARTS if parts is None else parts
    names = [part.name for part in selected]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dry-run", action="store_true", help="tiny sizes on the CPU; write no page")
    add("--parts", nargs="+", choices=names, default=names)
    add("--folder", type=Path, default=ROOT / "gpu-report", help="logs and figures")
    add("--page", type=Path, default=PAGE, help="page of experiments")
    add("--deadline", type=float, default=DEADLINE, help="seconds in all")
    options = parser.parse_args(given)
    if not options.dry_run and not has_gpu():
        parser.exit(1, "nothing measured: there is no GPU here; `--dry-run` tries the script\n")
    options.folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + options.deadline
    page = "" if options.dry_run else options.page.read_text(encoding="utf-8")
    outcomes: list[Outcome] = []
    for part in selected:
        if part.name not in options.parts:
            continue
        left = end - time.monotonic()
        outcomes.append(run_part(part, options, min(part.seconds, left)))
        print(f"{part.name}: {outcomes[-1].failure or 'done'}", file=sys.stderr, flush=True)
        if not options.dry_run:
            # At once: nothing is lost if the machine goes away.
            texts = "\n".join(entry(outcome, part.command) for outcome in outcomes)
            options.page.write_text(with_entries(page, texts), encoding="utf-8")
    if options.dry_run:
        print("\n".join(entry(outcome, outcome.part.tiny) for outcome in outcomes))
    return int(any(outcome.failure for outcome in outcomes))


def has_gpu() -> bool:
    """Return True if torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def run_part(part: Part, options: argparse.Namespace, seconds: float) -> Outcome:
    """Run a part for at most so many seconds, and read what it wrote."""
    figures = options.folder / f"{part.name}.json"
    figures.unlink(missing_ok=True)
    arguments = shlex.split(part.tiny if options.dry_run else part.command)
    is_script = arguments[0].endswith(".py")
    if is_script:
        arguments += ["--json", str(figures), "--deadline", f"{max(seconds - _GRACE, 1.0):.0f}"]
    started = time.monotonic()
    failure = f"not run: {seconds:.0f} s are left" if seconds < _GRACE else ""
    log = options.folder / f"{part.name}.log"
    if not failure:
        with log.open("w", encoding="utf-8") as file:
            failure = _wait((sys.executable, "-W", "ignore", *arguments), file, seconds)
    document = _read(figures)
    rows = document.get("rows", [])
    if not is_script and not failure:
        rows = [{"last_line": log.read_text(encoding="utf-8").strip().rpartition("\n")[2]}]
    if not failure and all("skipped" in row for row in rows):
        failure = "no cell was measured"
    return Outcome(
        part=part,
        rows=rows,
        about=document.get("about", ""),
        failure=failure,
        seconds=time.monotonic() - started,
    )


def _wait(command: Sequence[str], log: Any, seconds: float) -> str:
    """Return why a command failed; its processes are ended with it."""
    # A group of its own: workers of the part end with it.
    child = subprocess.Popen(
        command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        code = child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"more than {seconds:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return f"exit {code}, see the log" if code else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return document


def entry(outcome: Outcome, command: str) -> str:
    """Return an entry of the page: question, date, setting, command, result, verdict."""
    part = outcome.part
    result, verdict = "nothing was measured", "to be repeated"
    measured = [row for row in outcome.rows if "skipped" not in row]
    if measured:
        result, verdict = part.summarise(measured)
    skipped = [f"{_title(row)}: {row['skipped']}" for row in outcome.rows if "skipped" in row]
    if skipped:
        result += ". Without a figure: " + "; ".join(skipped)
    if outcome.failure:
        verdict = f"{outcome.failure}; {verdict}"
    fields = {
        "Date": datetime.now(UTC).date().isoformat(),
        "Setting": f"{outcome.about or 'no device named'}; {outcome.seconds:.0f} s",
        "Command": f"`make gpu`, part `{part.name}`: `python {command}`",
        "Result": result.replace("\n", " "),
        "Verdict": verdict,
    }
    lines = [f"- **{name}:** {text}" for name, text in fields.items()]
    return "\n".join([f"### {part.question}", "", *lines, ""])


def with_entries(page: str, text: str) -> str:
    """Insert entries before those of a page."""
    head, separator, rest = page.partition("### ")
    return f"{head}{text}\n{separator}{rest}"


def _title(row: Row) -> str:
    return " ".join(str(row[name]) for name in _TITLE if name in row)


def _speed(row: Row) -> float:
    return float(row["tokens"] / row["seconds"])


def of_kernels(rows: list[Row]) -> tuple[str, str]:
    """Return the last line of the tests."""
    text = rows[0]["last_line"]
    agree = "passed" in text and "skipped" not in text
    return text, "they do" if agree else "not every test ran"


def of_steps(rows: list[Row]) -> tuple[str, str]:
    """Compare fused with plain at each length, and list all."""
    steps = [row for row in rows if row["section"] == "steps"]
    listing = "; ".join(
        f"L = {row['length']:,} {row['case']} {_speed(row) / 1e3:,.0f} ({row['peak'] / GIB:.1f})"
        for row in steps
    )
    speeds = {(row["length"], row["case"]): _speed(row) for row in steps}
    gains = [
        f"{case.removeprefix('ours: ')} {speed / plain:.2f}"
        for (length, case), speed in speeds.items()
        if case.endswith(", fused") and (plain := speeds.get((length, case[: -len(", fused")])))
    ]
    verdict = "fused over plain: " + ", ".join(gains) if gains else "no fused kernel ran"
    return f"thousand tokens/s (GiB): {listing}", verdict


def of_mfu(rows: list[Row]) -> tuple[str, str]:
    """Share of the stated peak."""
    shares = {
        _title(row): _speed(row) * row["operations"] / STATED
        for row in rows
        if row["section"] == "mfu"
    }
    listing = "; ".join(f"{title} {share:.1%}" for title, share in shares.items())
    if not shares:
        return "no cell of MFU was measured", "to be repeated"
    best = max(shares.values())
    reached = "reached" if best >= WANTED else "not reached"
    return (
        f"of {STATED / 1e12:.0f} TFLOP/s: {listing}",
        f"{best:.0%} at best; {WANTED:.0%} was wanted: {reached}",
    )


def of_embed(rows: list[Row]) -> tuple[str, str]:
    """Bases per second."""
    listing = "; ".join(
        f"{_title(row)} {row['sequences'] / row['seconds']:,.0f} sequences/s, "
        f"{row['bases'] / row['seconds'] / 1e6:.2f} Mbases/s"
        for row in rows
    )
    best = max(rows, key=lambda row: row["bases"] / row["seconds"])
    return listing, f"fastest: {_title(best)}"


def of_processes(rows: list[Row]) -> tuple[str, str]:
    """Two processes over one."""
    speeds = {row["processes"]: _speed(row) for row in rows}
    listing = "; ".join(f"{name} {speed:,.0f} tokens/s" for name, speed in speeds.items())
    one = speeds.pop("1", None)
    if one is None or not speeds:
        return listing, "not comparable"
    return listing, ", ".join(f"{name}: {speed / one:.2f} of one" for name, speed in speeds.items())


_PEERS = "torch-encoder local-attention linear-attention-transformer"
_FLA_PEERS = "fla-linear fla-simple-gla fla-gated-deltanet"
_OURS = "softmax local longformer linear gated-linear gated-delta performer"
_TINY = "--device cpu --precision fp32 --seconds-per-cell 20 --seconds-timed 0"
PARTS = (
    Part(
        name="kernels",
        question="Do the fused kernels of a GPU compute what the plain path computes?",
        seconds=130,
        command="-m pytest -q -n 0 -m gpu tests/gpu/test_fused_kernels.py",
        tiny="-m pytest -q -n 0 tests/contracts/test_fused_kernels.py -k numbers",
        summarise=of_kernels,
    ),
    Part(
        name="steps",
        question="How fast are training steps in plain and in fused kernels, beside peers?",
        seconds=220,
        command="benchmarks/gpu.py steps --lengths 8192 --seconds-per-cell 20 --seconds-timed 0.25 "
        f"--mechanisms {_OURS} --peers {_FLA_PEERS} {_PEERS}",
        tiny=f"benchmarks/gpu.py steps --lengths 64 --tokens 64 {_TINY} --mechanisms local linear "
        "--peers torch-encoder",
        summarise=of_steps,
    ),
    Part(
        name="mfu",
        question="How much of a GPU does the preset `base` use at 8,192 tokens?",
        seconds=170,
        command="benchmarks/gpu.py mfu --compile blocks off --mfu-mechanisms softmax local linear "
        "--heads 6 --batches 8 4 2 --kernels fused --compile-seconds 45",
        tiny=f"benchmarks/gpu.py mfu --compile off --preset tiny --context 64 {_TINY} "
        "--mfu-mechanisms softmax --sdpa flash --batches 1 --side 64",
        summarise=of_mfu,
    ),
    Part(
        name="embed",
        question="How many bases per second does `embed` read on a GPU?",
        seconds=110,
        command="benchmarks/gpu_parts.py embed",
        tiny="benchmarks/gpu_parts.py embed --device cpu --preset tiny --sequences 3 "
        "--mechanisms local",
        summarise=of_embed,
    ),
    Part(
        name="processes",
        question="What do two processes on one GPU reach, over NCCL or gloo?",
        seconds=80,
        command="benchmarks/gpu_parts.py processes",
        tiny="benchmarks/gpu_parts.py processes --device cpu --preset tiny --context 32 --rows 2",
        summarise=of_processes,
    ),
)

if __name__ == "__main__":
    # Ended from outside, it ends its part too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
