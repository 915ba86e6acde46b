"""CPU time of scoring variants and maps of substitutions, beside whole passes over every window.

The plain way reads the windows of both alleles on both strands for the log-odds, and again for the
vectors (a model of two stacks needs one window for the log-odds of both alleles; a masked one too).
Synthetic genome of seeded bases; models of random weights of the default's width, and the default.
Reports the largest difference of the numbers.

python benchmarks/variants.py                          # four minutes on one core
python benchmarks/variants.py --window 512 --models default
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.evaluation.variant_windows import WindowPair, window_pair
from genomeformer_cli.core.evaluation.variants import (
    VariantOptions,
    mutagenesis_map,
    score_variants,
)
from genomeformer_cli.core.formats.vcf import Variant
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.tokenizers.char import CharTokenizer

KINDS = {
    "causal, softmax": ("causal", "softmax"),
    "causal, gated-linear": ("causal", "gated-linear"),
    "masked, softmax": ("bidirectional", "softmax"),
}
LETTERS = "ACGT"
# Substitutions of a map that are read whole; the time is scaled to all.
PLACES = 48


def load(name: str) -> LoadedModel:
    """Return the default model, or one of random weights."""
    if name == "default":
        return read_model(model_folder(DEFAULT_MODEL, store=Store(), reporter=SilentReporter()))
    direction, attention = KINDS[name]
    config = ModelConfig(
        context=1_024,
        width=256,
        depth=4,
        mlp_width=704,
        direction=direction,  # type: ignore[arg-type]
        attention=AttentionConfig(name=attention),
    )
    return LoadedModel(
        model=build_model(config).eval(), tokenizer=CharTokenizer(), folder=Path(), layers="last"
    )


def substitutions(codes: Codes, number: int) -> list[Variant]:
    """Return seeded substitutions of a genome."""
    places = np.random.default_rng(1).integers(0, codes.size, number)
    return [
        Variant(
            chromosome="c",
            position=int(place) + 1,
            id=".",
            ref=LETTERS[codes[place]],
            alt=LETTERS[(codes[place] + 1) % 4],
        )
        for place in places
    ]


@torch.inference_mode()
def plain_scores(loaded: LoadedModel, pairs: list[WindowPair]) -> np.ndarray:
    """Return log-odds and distances of pairs, each strand and window by a pass of its own."""
    return np.array(
        [
            np.mean([_strand(loaded, pair), _strand(loaded, pair.reverse_complement)], axis=0)
            for pair in pairs
        ]
    )


def _strand(loaded: LoadedModel, pair: WindowPair) -> tuple[float, float]:
    ids = [loaded.tokenizer.encode(codes) for codes in (pair.ref, pair.alt)]
    ref, alt = (row.astype(np.int64) for row in ids)
    objective, place = objective_for(loaded.model.config.direction), pair.first
    rows = np.stack((ref, alt)) if objective.is_causal else ref[None].copy()
    if objective.hides_targets:
        assert loaded.tokenizer.mask_id is not None
        rows[0, place] = loaded.tokenizer.mask_id
    features = loaded.model.hidden(torch.from_numpy(rows), None)
    real = torch.from_numpy(np.flatnonzero(loaded.tokenizer.is_real))
    if objective.is_causal:
        log2 = loaded.model.logits(features[:, :-1])[..., real].double().log_softmax(-1)
        targets = torch.from_numpy(rows[:, 1:] - int(real[0]))
        sums = log2.gather(2, targets[..., None]).sum(dim=(1, 2)) / np.log(2)
        odds = float(sums[1] - sums[0])
    else:
        log2 = loaded.model.logits(features[0, place])[real].double().log_softmax(-1) / np.log(2)
        odds = float(log2[alt[place] - int(real[0])] - log2[ref[place] - int(real[0])])
    vectors = embed_tokens(
        loaded,
        [ids[0], ids[1]],
        EmbedOptions(pool="mean", window=ref.size),
        reporter=SilentReporter(),
    )
    return odds, float(np.linalg.norm(vectors[1] - vectors[0]))


@torch.inference_mode()
def plain_map(loaded: LoadedModel, codes: Codes, places: np.ndarray) -> np.ndarray:
    """Return the log-odds of substitutions to the next base, each mutant read whole."""
    pairs = []
    for place in places:
        mutant = codes.copy()
        mutant[place] = (codes[place] + 1) % 4
        pairs.append(WindowPair(codes, mutant, int(place), 1, 1))
    strands = []
    for oriented in (pairs, [pair.reverse_complement for pair in pairs]):
        reference = _log_likelihood(loaded, oriented[0].ref)
        strands.append([_log_likelihood(loaded, pair.alt) - reference for pair in oriented])
    return np.asarray(np.array(strands).mean(axis=0))


def _log_likelihood(loaded: LoadedModel, codes: Codes) -> float:
    ids = torch.from_numpy(loaded.tokenizer.encode(codes).astype(np.int64))[None]
    real = torch.from_numpy(np.flatnonzero(loaded.tokenizer.is_real))
    logits = loaded.model.logits(loaded.model.hidden(ids, None)[:, :-1])[..., real]
    nats = logits.double().log_softmax(-1).gather(2, (ids[:, 1:] - real[0])[..., None])
    return float(nats.sum()) / float(np.log(2))


def shared_scores(
    loaded: LoadedModel, variants: list[Variant], codes: Codes, options: VariantOptions
) -> np.ndarray:
    """Return log-odds and distances as `score --vcf` computes them."""
    scores = score_variants(loaded, variants, {"c": codes}, options, SilentReporter())
    return np.array([[score.log_odds, score.embedding_distance] for score in scores])


def cpu_seconds(compute: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return a result and the CPU seconds of its second computation."""
    compute()
    start = resource.getrusage(resource.RUSAGE_SELF)
    result = compute()
    end = resource.getrusage(resource.RUSAGE_SELF)
    return result, end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime


def main() -> None:
    """Print a table: CPU seconds of 1,000 variants or of a kilobase's map, plain and shared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["default", *KINDS])
    parser.add_argument("--window", type=int, default=1_024)
    parser.add_argument("--variants", type=int, default=24)
    parser.add_argument("--map", type=int, default=256, help="bases of the mapped sequence")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codes = np.random.default_rng(0).integers(0, 4, 100_000).astype(np.uint8)
    variants = substitutions(codes, arguments.variants)
    options = VariantOptions(window=arguments.window)
    print("model\twork\tplain_cpu_s\tshared_cpu_s\tratio\tlargest_difference")
    for name in arguments.models:
        loaded = load(name)
        windows = [window_pair(variant, {"c": codes}, options.window) for variant in variants]
        pairs = [pair for pair in windows if isinstance(pair, WindowPair)]

        plain, plain_s = cpu_seconds(partial(plain_scores, loaded, pairs))
        scores, shared_s = cpu_seconds(partial(shared_scores, loaded, variants, codes, options))
        _show(name, "1,000 variants", (plain_s, shared_s), 1e3 / len(pairs), plain - scores)
        if not objective_for(loaded.model.config.direction).is_causal:
            continue
        short = codes[: arguments.map]
        places = np.linspace(0, short.size - 1, PLACES).astype(int)
        plain, plain_s = cpu_seconds(partial(plain_map, loaded, short, places))
        table, shared_s = cpu_seconds(partial(mutagenesis_map, loaded, short, 16))
        difference = plain - table[places, (short[places] + 1) % 4]
        plain_s *= 3 * short.size / PLACES
        _show(name, f"map of {short.size} bases", (plain_s, shared_s), 1.0, difference)


def _show(
    name: str, work: str, seconds: tuple[float, float], scale: float, difference: np.ndarray
) -> None:
    plain, shared = (value * scale for value in seconds)
    largest = float(np.abs(difference).max())
    print(
        f"{name}\t{work}\t{plain:.1f}\t{shared:.1f}\t{plain / shared:.2f}\t{largest:.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
