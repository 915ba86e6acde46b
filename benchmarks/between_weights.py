"""Bits per base of two models of one shape and of weights between them, by group of genomes.

    python benchmarks/between_weights.py --data FOLDER --model default --other RUN --share 0.5

A model that is trained further on other genomes gains on these and loses on the former ones; the
mean of both sets of weights gives some of the gain back for some of the loss (Wortsman et al. 2022,
"Robust fine-tuning of zero-shot models"). FOLDER holds `genomes.tsv` and `validation_*.fa.gz`; the
windows are the scored ones of the card. Differences from the first model have paired intervals over
windows. Shape letter: N bases.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from card_likelihood import GROUPS, PROKARYOTES, LikelihoodConfig, Windows, cut_windows

from genomeformer_cli.core.evaluation.likelihood import score_windows
from genomeformer_cli.core.evaluation.token_scores import bootstrap_mean
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store

SEED = 47


class Bits(NamedTuple):
    """Bits of the scored bases of a group."""

    bits_N: npt.NDArray[np.float64]
    window_N: npt.NDArray[np.int64]  # Window of each base.


def main() -> None:
    """Score both models and the weights between them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--other", required=True, help="run, bundle or checkpoint of equal shape")
    parser.add_argument("--share", type=float, nargs="*", default=[0.5], help="of the other model")
    parser.add_argument("--windows", type=int, default=LikelihoodConfig.num_windows)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    store = Store()
    first, other = (
        read_model(model_folder(name, store=store, reporter=SilentReporter())).model
        for name in (options.model, options.other)
    )
    windows = cut_windows(first, options.data, options.windows)
    reference = bits_by_group(first, windows)
    print("| share of the other | " + " | ".join(reference) + " |")
    print("|---" * (len(reference) + 1) + "|")
    for share in [0.0, *options.share, 1.0]:
        bits = bits_by_group(between(first, other, share), windows) if share else reference
        cells = [cell(bits[group], reference[group]) for group in bits]
        print(f"| {share:g} | {' | '.join(cells)} |", flush=True)


def between(first: Model, other: Model, share: float) -> Model:
    """Return a model with weights between those of two; `share` is the part of the other."""
    model = copy.deepcopy(first)
    with torch.no_grad():
        for own, towards in zip(model.parameters(), other.parameters(), strict=True):
            own.lerp_(towards, share)
    return model


def bits_by_group(model: Model, windows: Windows) -> dict[str, Bits]:
    """Return the bits of the scored bases of each group of genomes."""
    parts: dict[str, list[Bits]] = {}
    for part, group in enumerate(windows.groups):
        queries = windows.scored(part)
        group = PROKARYOTES if group in GROUPS.values() else group
        first = 1 + max((int(bits.window_N.max()) for bits in parts.get(group, [])), default=-1)
        window_N = first + np.nonzero(queries.hidden_PWL)[1]
        bits = Bits(score_windows(model, queries).bits_N, window_N)
        parts.setdefault(group, []).append(bits)
    return {
        group: Bits(*(np.concatenate(arrays) for arrays in zip(*of_group, strict=True)))
        for group, of_group in parts.items()
    }


def cell(bits: Bits, reference: Bits) -> str:
    """Return bits per base and their difference from the first model, with its interval."""
    value = f"{bits.bits_N.mean():.4f}"
    if bits is reference:
        return value
    change = bootstrap_mean(
        bits.bits_N - reference.bits_N, bits.window_N, np.random.default_rng(SEED)
    )
    return f"{value} ({change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}])"


if __name__ == "__main__":
    main()
