"""Mixture of training data: groups of segments or annotated places, each with a share of the rows.

The group of row `i` of a run is a pure function of (seed, i): every block of rows holds each group
in proportion to its share, by systematic sampling, in random order. Within a group, rows run
through its windows epoch by epoch, so that a group that is exhausted begins again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.anchors import ANCHORS, anchors_of
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.corpus.format import Segment
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.formats.groups import GroupBy, group_name
from genomeformer_cli.core.genomes.genome import (
    Genome,
    annotation_file,
    cached_genomes,
    genome_from_json,
)
from genomeformer_cli.core.proposals import propose, quoted
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.tokenizers.token_lengths import token_layout

REST = "rest"
_BLOCK, _MIXTURE, _NUM_SHOWN = 1024, 3, 24


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Sampling of training windows."""

    # Share of the windows per group, normalised. A group is a genome, a record, a prefix of record
    # ids before `|`, an organism, a taxon, `rest`, or an annotated class: `promoter`, `terminator`,
    # `cds-start`, and `CLASS:GROUP`. Empty: every window once per epoch.
    mix: dict[str, float] = field(default_factory=dict)
    # Fraction of a window, around its centre, in which the place of an annotated class lies.
    jitter: float = 0.5
    # Probability of drawing an entirely lower-case window in an epoch; it grows linearly to 1 with
    # the fraction of upper-case bases.
    repeat_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, share in self.mix.items():
            check_range(f"sampling.mix.{name}", share, 0, excluded="lowest")
        check_range("sampling.jitter", self.jitter, 0, 1)
        check_range("sampling.repeat_weight", self.repeat_weight, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Group of a mixture."""

    name: str  # Name as given.
    share: float  # Fraction of the rows.
    segments: list[Segment]  # Training segments.
    # Segment index and token of every annotated place; None: windows along the segments.
    anchors_A2: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Groups and weights of training windows."""

    config: SamplingConfig = field(default_factory=SamplingConfig)  # Settings.
    groups: tuple[Group, ...] = ()  # Groups by name; empty: all segments, evenly.


class Allocation:
    """Assignment of the rows of a run to the groups of a mixture.

    Args:
        shares: Fractions of the rows, of sum 1.
        seed: Seed of the run.
    """

    def __init__(self, shares: Sequence[float], seed: int) -> None:
        self._ends = np.cumsum(shares)[:-1]
        self._seed = seed
        self._before = [np.zeros(len(shares), dtype=np.int64)]
        self._open: tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def place(self, row: int) -> tuple[int, int]:
        """Return the group of a row, and the number of earlier rows of this group."""
        block, index = divmod(row, _BLOCK)
        if self._open is None or self._open[0] != block:
            self._open = (block, *self._ranked(block))
        _, groups, ranks = self._open
        return int(groups[index]), int(ranks[index])

    def _ranked(self, block: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the groups of a block's rows, and their ranks within the groups."""
        while len(self._before) <= block:
            groups = self._groups(len(self._before) - 1)
            counts = np.bincount(groups, minlength=self._before[0].size)
            self._before.append(self._before[-1] + counts)
        groups = self._groups(block)
        ranks = np.empty_like(groups)
        for group, before in enumerate(self._before[block]):
            rows = np.flatnonzero(groups == group)
            ranks[rows] = before + np.arange(rows.size)
        return groups, ranks

    def _groups(self, block: int) -> npt.NDArray[np.int64]:
        generator = np.random.default_rng([self._seed, _MIXTURE, block])
        points = (np.arange(_BLOCK) + generator.random()) / _BLOCK
        return generator.permutation(np.searchsorted(self._ends, points, side="right"))


def open_mixture(
    corpus: Corpus, config: SamplingConfig, store: Store, reporter: Reporter
) -> Mixture:
    """Find the training data of the groups of a mixture.

    Args:
        corpus: Corpus whose training split is read.
        config: Shares.
        store: Cache with the annotation of the genomes.
        reporter: Receives a warning about training data outside all groups.

    Raises:
        ConfigError: A name is unknown, or has no training data.
    """
    if not config.mix:
        return Mixture(config=config)
    segments = corpus.segments("train")
    described = {item["name"]: genome_from_json(item) for item in corpus.manifest.genomes}
    names = [_names(segment, described[segment.genome]) for segment in segments]
    members: dict[str, set[int]] = {
        name: {index for index, own in enumerate(names) if name in own} for name in config.mix
    }
    if REST in members and not members[REST]:
        members[REST] = set(range(len(segments))).difference(*members.values())
    classes = [name for name in config.mix if not members[name] and _is_class(name)]
    places = _Places(corpus, described, store, reporter) if classes else None
    total = sum(config.mix.values())
    groups: list[Group] = []
    for name, share in sorted(config.mix.items()):
        anchors, own = None, segments
        if members[name]:
            own = [segments[index] for index in sorted(members[name])]
        elif places is not None and name in classes:
            kind, _, inside = name.partition(":")
            own = [s for s, n in zip(segments, names, strict=True) if not inside or inside in n]
            anchors = places.anchors(kind, own) if own else None
        if not members[name] and (anchors is None or not anchors.size):
            raise _unknown(name, corpus, names)
        groups.append(Group(name=name, share=share / total, segments=own, anchors_A2=anchors))
    _warn_of_unread(segments, groups, reporter)
    return Mixture(config=config, groups=tuple(groups))


def groups_sha256(groups: Sequence[Group]) -> str:
    """Return the checksum of the places of annotated groups; empty without such groups."""
    digest = hashlib.sha256()
    for group in groups:
        if group.anchors_A2 is not None:
            digest.update(group.name.encode() + group.anchors_A2.astype("<i8").tobytes())
    return digest.hexdigest() if any(group.anchors_A2 is not None for group in groups) else ""


def _names(segment: Segment, genome: Genome) -> set[str]:
    """Return all names of a segment's groups."""
    units = {group_name(segment.genome, segment.record, by) for by in GroupBy}
    taxa = {word for taxon in genome.lineage for word in (taxon.name, str(taxon.taxid))}
    organism = {genome.organism or "", str(genome.taxid or "")}
    return (units | taxa | organism | {f"{segment.genome}/{segment.record}"}) - {""}


def _is_class(name: str) -> bool:
    """Return True for an annotated class, `CLASS` or `CLASS:GROUP`."""
    return name.partition(":")[0] in ANCHORS


def _unknown(name: str, corpus: Corpus, names: Sequence[set[str]]) -> ConfigError:
    """Build the error for a name without training data."""
    kind, _, inside = name.partition(":")
    if kind in ANCHORS and (not inside or any(inside in own for own in names)):
        return ConfigError(
            f"`--mix {name}`: no training genome of the corpus has an annotated {kind}",
            hint="fetch with `--format fasta,gff`, or tokenize GenBank files",
        )
    genomes = dict.fromkeys(segment.genome for segment in corpus.segments("train"))
    other_names = sorted(set().union(*names) - {*genomes}, key=lambda word: ("/" in word, word))
    all_names = [*genomes, *other_names]
    examples = [*all_names[:_NUM_SHOWN], REST, *ANCHORS]
    more = f", and {len(all_names) - _NUM_SHOWN:,} more" if len(all_names) > _NUM_SHOWN else ""
    label = inside if kind in ANCHORS else name
    return ConfigError(
        f"`--mix {name}`: the training split has no group `{label}`",
        hint=propose(label, [*all_names, *ANCHORS], otherwise=f"groups: {quoted(examples)}{more}"),
    )


def _warn_of_unread(
    segments: Sequence[Segment], groups: Sequence[Group], reporter: Reporter
) -> None:
    """Warn of training segments from which no group reads."""
    read = {(s.shard, s.offset) for group in groups for s in group.segments}
    unread = sum(s.length for s in segments if (s.shard, s.offset) not in read)
    if unread:
        share = unread / sum(segment.length for segment in segments)
        reporter.warn(
            f"{unread:,} tokens of the training split ({share:.1%}) are in no group of the mixture "
            f"and are not read; `--mix {REST}=SHARE` names them"
        )


class _Places:
    """Annotated places of the genomes of a corpus, read once."""

    def __init__(
        self, corpus: Corpus, genomes: Mapping[str, Genome], store: Store, reporter: Reporter
    ) -> None:
        self._corpus = corpus
        self._bases_V = token_layout(corpus.tokenizer).bases_V
        self._positions: dict[tuple[str, str, str], npt.NDArray[np.int64]] = {}
        for name, genome in genomes.items():
            if not store.has(Kind.GENOMES, name):
                continue
            ((cached, fasta),) = cached_genomes(store, [name])
            annotation = annotation_file(cached, fasta.parent)
            if annotation is None or cached.sha256 != genome.sha256:
                continue
            for record in annotated_records(fasta, annotation, reporter=reporter):
                for kind in ANCHORS:
                    self._positions[kind, name, record.id] = anchors_of(record, kind)

    def anchors(self, kind: str, segments: Sequence[Segment]) -> npt.NDArray[np.int64]:
        """Return segment index and token of every place of a kind within training segments."""
        no_positions = np.empty(0, dtype=np.int64)
        rows = [np.empty((0, 2), dtype=np.int64)]
        for index, segment in enumerate(segments):
            positions = self._positions.get((kind, segment.genome, segment.record), no_positions)
            if positions.size:
                tokens = self._tokens(segment, positions)
                tokens = tokens[(tokens >= 0) & (tokens < segment.length)]
                rows.append(np.stack([np.full(tokens.size, index), tokens], axis=1))
        return np.concatenate(rows)

    def _tokens(self, segment: Segment, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the tokens of a segment that hold bases of its record."""
        if self._corpus.tokenizer.one_token_per_base:
            return positions - segment.start
        # Training segments begin with their record, so that their bases are counted from its start.
        ends = np.cumsum(self._bases_V[self._corpus.tokens(segment)])
        return np.searchsorted(ends, positions, side="right")
