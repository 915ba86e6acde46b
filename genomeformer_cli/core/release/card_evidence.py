"""The tables of a card that quote `evaluate`: every number beside its baselines and twins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from genomeformer_cli.core.escaping import markdown
from genomeformer_cli.core.model_io.bundle_layout import PICTURES
from genomeformer_cli.core.release.eval_report import Evidence

_NOTHING = "-"
_WHICH = {False: "in this bundle", True: "before they were stored as they are in this bundle"}
Plain = dict[str, Any]


def evidence_sections(evidence: Sequence[Evidence]) -> list[str]:
    """A section for every evaluation."""
    if not evidence:
        return [
            "## Evaluation\n\nNo evaluation beyond the held-out bases above was made: neither "
            "other genomes nor labelled\nsequences were looked at.\n"
        ]
    return [_section(one) for one in evidence]


def _section(evidence: Evidence) -> str:
    results = evidence.results
    counted = results.get("counted_on")
    counts = f"tables of counts are of the corpus `{counted}`" if counted else "no counts"
    parts = [
        "## Evaluation\n",
        f"By `genomeformer evaluate`: {counts}; intervals hold 95 % of the bootstrap samples. "
        f"It is of the weights {_WHICH[evidence.before_storing]}.\n",
        *(_prediction(one) for one in results["predictions"]),
    ]
    if results["tasks"]:
        parts += [_probes(results["tasks"]), _neighbourhoods(results["tasks"])]
    parts += [f"![{one.shows}]({PICTURES}/{one.name})\n" for one in evidence.pictures]
    return "\n".join(parts)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    shown = [[markdown(cell) for cell in row] for row in rows]
    lines = [headings, ["---"] * len(headings), *shown]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _spread(interval: Plain | None, digits: int = 4) -> str:
    """A mean with its interval; what is not there, or no number, is a dash."""
    if interval is None or interval.get("value") is None:
        return _NOTHING
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _prediction(one: Plain) -> str:
    rows = [
        (
            row["part"],
            _who(row),
            _spread(row["bits"]),
            _spread(row["accuracy"]),
            _spread(row["gain"]),
            f"{row['num_bases']:,}",
        )
        for row in one["rows"]
    ]
    headings = ("held-out part", "who", "bits per base", "accuracy", "bits gained", "bases")
    verdict = "\n".join(_verdict(one))
    return f"### {markdown(one['question'])}\n\n{_table(headings, rows)}\n{verdict}\n"


def _who(row: Plain) -> str:
    if row["who"] == "counts":
        return f"counts, {row['detail']} neighbours"
    return "this model" if row["who"] == "model" else f"random weights, seed {row['detail']}"


def _verdict(one: Plain) -> Iterator[str]:
    """Where the counts are not beaten beyond chance, part by part."""
    gains = {
        row["part"]: row["gain"] for row in one["rows"] if row["who"] == "model" and row["gain"]
    }
    if not gains:
        yield "No table of counts was there to compare with."
        return
    gains = {part: gain for part, gain in gains.items() if gain.get("low") is not None}
    if not gains:
        yield "A single window was scored: no statement beyond chance."
        return
    behind = [part for part, gain in gains.items() if gain["high"] < 0]
    undecided = [part for part, gain in gains.items() if gain["low"] <= 0 <= gain["high"]]
    if behind:
        yield f"The table of counts is better on: {', '.join(behind)}."
    if undecided:
        yield f"Neither is ahead beyond chance on: {', '.join(undecided)}."
    if not behind and not undecided:
        yield "The model is ahead of the table of counts beyond chance on every part."


def _kinds(task: Plain) -> Iterator[tuple[str, Plain]]:
    """Vectors worth a row, of the first seed: of the k-mers, those that do best."""
    seed = task["rows"][0]["seed"]
    rows = [row for row in task["rows"] if row["seed"] == seed]
    words = [row for row in rows if row["who"].endswith("-mers")]
    best = max(words, key=lambda row: row["logistic"]["mcc"]["value"] or 0.0, default=None)
    for row in rows:
        if row is best or not row["who"].endswith("-mers"):
            name = {"model": "this model", "random": "random weights"}.get(row["who"], row["who"])
            yield name, row


def _probes(tasks: Sequence[Plain]) -> str:
    rows = [
        (
            f"{task['name']} ({len(task['classes'])} classes)",
            name,
            _spread(row["logistic"]["mcc"], 3),
            _spread(row["logistic"]["auroc"], 3),
            _spread(row["neighbours"]["mcc"], 3),
            _spread(row.get("gain"), 3),
        )
        for task in tasks
        for name, row in _kinds(task)
    ]
    headings = ("task", "vectors", "MCC", "AUROC", "MCC, 10-NN", "MCC - best k-mers")
    lost = [task["name"] for task in tasks if not _ahead(task)]
    said = (
        f"Not ahead of the best k-mers beyond chance on: {', '.join(map(markdown, lost))}."
        if lost
        else "Ahead of the best k-mers beyond chance on every task."
    )
    title = "### Labelled sequences: logistic regression on frozen vectors"
    return f"{title}\n\n{_table(headings, rows)}\n{said}\n"


def _ahead(task: Plain) -> bool:
    gain = next((row.get("gain") for row in task["rows"] if row["who"] == "model"), None)
    return gain is not None and (gain["low"] or 0.0) > 0


def _neighbourhoods(tasks: Sequence[Plain]) -> str:
    rows = [
        (
            task["name"],
            name,
            *(_number(row["neighbourhood"].get(key)) for key in _NEIGHBOURHOOD),
        )
        for task in tasks
        for name, row in _kinds(task)
        if row.get("neighbourhood")
    ]
    headings = (
        *("task", "vectors", "purity of 10", "by chance", "mAP", "by chance"),
        *("silhouette", "p"),
    )
    title = "### Labelled sequences: neighbourhoods of the vectors as they are"
    return f"{title}\n\n{_table(headings, rows)}"


_NEIGHBOURHOOD = ("purity", "chance", "precision", "precision_chance", "silhouette", "p_value")


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"
