"""Who is held out: whole genomes, whole records, or the tail of every record; never random windows.

Random windows of one chromosome overlap and repeat each other, so a model tested on them is tested
on what it has seen. A chromosome that is alone can still be split honestly: one contiguous stretch
at its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from genomeformer_cli.core.corpus.format import Segment, Split
from genomeformer_cli.core.errors import ConfigError

GENOMES_FOR_GENOME_SPLIT = 10


class SplitBy(StrEnum):
    """The unit that is held out."""

    AUTO = "auto"
    GENOME = "genome"
    RECORD = "record"
    TAIL = "tail"


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How the held-out part is chosen.

    Attributes:
        by: The unit: `genome`, `record`, or the `tail` of every record; `auto` takes genomes if
            there are ten or more.
        fraction: Part of all bases to hold out, between 0 and 1.
        holdout: Names of genomes or records, or `GENOME/RECORD`, to hold out instead of drawing.
        seed: Of the draw.
    """

    by: SplitBy = SplitBy.AUTO
    fraction: float = 0.1
    holdout: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ConfigError(
                f"the validation fraction {self.fraction} is not between 0 and 1",
                hint="0.1 holds out a tenth of the bases",
            )


def assign_splits(
    segments: Sequence[Segment],
    config: SplitConfig,
    num_bases: Sequence[int] | None = None,
    *,
    overlap: int = 0,
) -> tuple[list[Segment], str]:
    """Mark every segment as training, held out or, at most `overlap` tokens between them, unused.

    Args:
        segments: One a record, all marked as training.
        config: The rule.
        num_bases: Bases of each, by which genomes and records are drawn, so that the draw is the
            same whatever the tokenizer; `None` if a token is a base.
        overlap: Most tokens before any token that share bases with it.

    Returns:
        The segments, and the rule in words.

    Raises:
        ConfigError: Nothing would be left to train on, or to validate on.
    """
    sizes = [segment.length for segment in segments] if num_bases is None else num_bases
    marked, rule = _apply(segments, config, sizes, overlap)
    if not any(segment.split == "validation" for segment in marked):
        raise ConfigError(
            "the records are too short to hold any of them out",
            hint="raise `--validation-fraction`",
        )
    if not any(segment.split == "train" for segment in marked):
        raise ConfigError(
            "holding all of that out leaves nothing to train on", hint="hold out less"
        )
    return marked, rule


def unit_of(config: SplitConfig, num_genomes: int) -> SplitBy:
    """What `auto` means for so many genomes; names hold out whole records."""
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
    chosen = _draw(lengths, config)
    return _mark(
        segments, key, chosen
    ), f"whole {by}s, {config.fraction:.0%} of the bases aimed at, seed {config.seed}"


def _genome_of(segment: Segment) -> str:
    return segment.genome


def _record_of(segment: Segment) -> str:
    return f"{segment.genome}/{segment.record}"


def _names_of(segment: Segment) -> set[str]:
    return {segment.genome, segment.record, _record_of(segment)}


def _mark(
    segments: Sequence[Segment], key: Callable[[Segment], str], chosen: set[str]
) -> list[Segment]:
    return [
        replace(segment, split="validation") if key(segment) in chosen else segment
        for segment in segments
    ]


def _hold_out_named(
    segments: Sequence[Segment], names: tuple[str, ...]
) -> tuple[list[Segment], str]:
    wanted = set(names)
    known = {name for segment in segments for name in _names_of(segment)}
    if not wanted <= known:
        missing = sorted(wanted - known)[0]
        raise ConfigError(
            f"nothing is called `{missing}`, so it cannot be held out",
            hint="give the name of a genome, the id of a record, or `GENOME/RECORD`",
        )
    marked = [replace(s, split="validation") if _names_of(s) & wanted else s for s in segments]
    return marked, "held out by name: " + ", ".join(sorted(wanted))


def _draw(lengths: Mapping[str, int], config: SplitConfig) -> set[str]:
    if len(lengths) < 2:
        raise ConfigError(
            "one unit alone cannot be split",
            hint="use `--split tail`, which holds out the end of every record",
        )
    wanted = config.fraction * sum(lengths.values())
    order = sorted(
        lengths, key=lambda name: hashlib.sha256(f"{config.seed}:{name}".encode()).digest()
    )
    chosen: set[str] = set()
    held = 0
    for name in order:
        if held + lengths[name] <= 1.5 * wanted and len(chosen) < len(lengths) - 1:
            chosen.add(name)
            held += lengths[name]
        if held >= wanted:
            break
    return chosen or {min(lengths, key=lambda name: (lengths[name], name))}


def _hold_out_tails(
    segments: Sequence[Segment], fraction: float, overlap: int
) -> tuple[list[Segment], str]:
    marked: list[Segment] = []
    for segment in segments:
        cut = segment.length - round(segment.length * fraction)
        train = max(cut - overlap, 0) if cut < segment.length else cut
        parts = (
            _part(segment, 0, train, "train"),
            _part(segment, train, cut, "unused"),
            _part(segment, cut, segment.length, "validation"),
        )
        marked += [part for part in parts if part.length]
    rule = f"the last {fraction:.0%} of every record"
    return marked, f"{rule}; {overlap} tokens before it unused" if overlap else rule


def _part(segment: Segment, start: int, stop: int, split: Split) -> Segment:
    return replace(
        segment,
        start=segment.start + start,
        offset=segment.offset + start,
        length=stop - start,
        split=split,
    )
