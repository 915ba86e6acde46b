"""Held-out splits: whole genomes, whole records, or the tail of every record; never random windows.

Random windows of a chromosome overlap and repeat each other, so a test on them includes training
data. A single chromosome is split by one contiguous range at its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.corpus.format import Segment, Split
from genomeformer_cli.core.corpus.split_units import SplitBy as SplitBy  # part of this module
from genomeformer_cli.core.errors import ConfigError

GENOMES_FOR_GENOME_SPLIT = 10


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Rule for the held-out part."""

    # Unit: `genome`, `record`, or the `tail` of every record; `auto` uses genomes if there are ten
    # or more.
    by: SplitBy = SplitBy.AUTO
    fraction: float = 0.1  # Fraction of all bases to hold out, between 0 and 1.
    # Names of genomes or records, or `GENOME/RECORD`, to hold out instead of a random draw.
    holdout: tuple[str, ...] = ()
    seed: int = 0  # Random seed of the draw.

    def __post_init__(self) -> None:
        check_range("validation_fraction", self.fraction, 0, 1, "both")
        check_range("split_seed", self.seed, 0)


def assign_splits(
    segments: Sequence[Segment],
    config: SplitConfig,
    num_bases: Sequence[int] | None = None,
    *,
    overlap: int = 0,
) -> tuple[list[Segment], str]:
    """Assign every segment to a split; at most `overlap` tokens before a held-out tail are unused.

    Args:
        segments: One segment per record, all in training.
        config: Split rule.
        num_bases: Number of bases of each segment; genomes and records are drawn by it, so that the
            draw is independent of the tokenizer. None if each token is one base.
        overlap: Maximum number of preceding tokens that share bases with a token.

    Returns:
        The segments, and the rule as text.

    Raises:
        ConfigError: The training or the validation split is empty.
    """
    sizes = [segment.length for segment in segments] if num_bases is None else num_bases
    assigned, rule = _apply(segments, config, sizes, overlap)
    if not any(segment.split == "validation" for segment in assigned):
        raise ConfigError(
            "the records are too short for a held-out part", hint="raise `--validation-fraction`"
        )
    if not any(segment.split == "train" for segment in assigned):
        raise ConfigError("the held-out part leaves no bases for training", hint="hold out less")
    return assigned, rule


def unit_of(config: SplitConfig, num_genomes: int) -> SplitBy:
    """Resolve `auto` for a number of genomes; named units are whole records."""
    if config.holdout:
        return SplitBy.RECORD
    if config.by is not SplitBy.AUTO:
        return config.by
    return SplitBy.GENOME if num_genomes >= GENOMES_FOR_GENOME_SPLIT else SplitBy.TAIL


def _apply(
    segments: Sequence[Segment], config: SplitConfig, sizes: Sequence[int], overlap: int
) -> tuple[list[Segment], str]:
    if config.holdout:
        return _hold_out_named(segments, config.holdout)
    by = unit_of(config, len({segment.genome for segment in segments}))
    if by is SplitBy.TAIL:
        return _hold_out_tails(segments, config.fraction, overlap)
    key: Callable[[Segment], str] = _genome_of if by is SplitBy.GENOME else _record_of
    lengths: dict[str, int] = {}
    for segment, size in zip(segments, sizes, strict=True):
        lengths[key(segment)] = lengths.get(key(segment), 0) + size
    held_out = _draw(lengths, config)
    return _mark(
        segments, key, held_out
    ), f"whole {by}s, {config.fraction:.0%} of the bases aimed at, seed {config.seed}"


def _genome_of(segment: Segment) -> str:
    return segment.genome


def _record_of(segment: Segment) -> str:
    return f"{segment.genome}/{segment.record}"


def _names_of(segment: Segment) -> set[str]:
    return {segment.genome, segment.record, _record_of(segment)}


def _mark(
    segments: Sequence[Segment], key: Callable[[Segment], str], held_out: set[str]
) -> list[Segment]:
    return [
        replace(segment, split="validation") if key(segment) in held_out else segment
        for segment in segments
    ]


def _hold_out_named(
    segments: Sequence[Segment], names: tuple[str, ...]
) -> tuple[list[Segment], str]:
    requested = set(names)
    available = {name for segment in segments for name in _names_of(segment)}
    if not requested <= available:
        missing = sorted(requested - available)[0]
        raise ConfigError(
            f"no genome or record is called `{missing}`",
            hint="give the name of a genome, the id of a record, or `GENOME/RECORD`",
        )
    assigned = [replace(s, split="validation") if _names_of(s) & requested else s for s in segments]
    return assigned, "held out by name: " + ", ".join(sorted(requested))


def _draw(lengths: Mapping[str, int], config: SplitConfig) -> set[str]:
    if len(lengths) < 2:
        raise ConfigError(
            "a single genome or record cannot be split",
            hint="use `--split tail`, which holds out the end of every record",
        )
    target = config.fraction * sum(lengths.values())
    order = sorted(
        lengths, key=lambda name: hashlib.sha256(f"{config.seed}:{name}".encode()).digest()
    )
    held_out: set[str] = set()
    num_held_out = 0
    for name in order:
        if num_held_out + lengths[name] <= 1.5 * target and len(held_out) < len(lengths) - 1:
            held_out.add(name)
            num_held_out += lengths[name]
        if num_held_out >= target:
            break
    return held_out or {min(lengths, key=lambda name: (lengths[name], name))}


def _hold_out_tails(
    segments: Sequence[Segment], fraction: float, overlap: int
) -> tuple[list[Segment], str]:
    assigned: list[Segment] = []
    for segment in segments:
        cut = segment.length - round(segment.length * fraction)
        train = max(cut - overlap, 0) if cut < segment.length else cut
        parts = (
            _part(segment, 0, train, "train"),
            _part(segment, train, cut, "unused"),
            _part(segment, cut, segment.length, "validation"),
        )
        assigned += [part for part in parts if part.length]
    rule = f"the last {fraction:.0%} of every record"
    return assigned, f"{rule}; {overlap} tokens before it unused" if overlap else rule


def _part(segment: Segment, start: int, stop: int, split: Split) -> Segment:
    return replace(
        segment,
        start=segment.start + start,
        offset=segment.offset + start,
        length=stop - start,
        split=split,
    )
