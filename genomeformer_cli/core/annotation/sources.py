"""Choice of sequences: files, cached genomes, or regions of a genome.

`workflows/sources.py` reads them.

| choice                       | sequences                                                       |
|------------------------------|-----------------------------------------------------------------|
| `files` or `genome`          | every record, in the order of the files                         |
| `genome` with `bed`          | every interval, in the order of the BED file                    |
| `genome` with `vcf`          | every allele in its flanks: the reference, then the alternative |
| either with `features`       | every feature of the annotation, see `feature_regions`          |
| either with `tile`           | windows along every record, see `tiles`                         |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.annotation.feature_regions import FeatureRules
from genomeformer_cli.core.annotation.tiles import TileRules
from genomeformer_cli.core.configuration import check_range
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.text import STDIN


@dataclass(frozen=True, kw_only=True)
class RegionConfig:
    """Rules of regions that are rarely changed."""

    both_strands: bool = False  # Read each tile on both strands.
    max_n: float = 1.0  # Largest share of N in a tile; a tile of N alone is always left out.
    # Bases that the model reads at once, in `embed` and `predict`: a tile is pooled from them, so
    # that overlapping tiles share their computation and see what is around them. At least twice
    # the width; None: each tile is read by itself.
    context: int | None = None

    def __post_init__(self) -> None:
        check_range("regions.max_n", self.max_n, 0, 1)
        check_range("regions.context", self.context, 1)


@dataclass(frozen=True, kw_only=True)
class SequenceSources:
    """Sources of sequences, and the regions to cut from them."""

    # FASTA, FASTQ, GenBank or tables, packed or not; `-` for standard input; cached genomes.
    files: tuple[str, ...] = ()
    genome: str | None = None  # Cached genome or file to which `bed`, `gff` and `vcf` refer.
    bed: Path | None = None  # BED file of regions.
    gff: Path | None = None  # GFF3 or GenBank file; None: the annotation of the genome.
    features: tuple[str, ...] = ()  # Types of features to cut.
    upstream: int | None = None  # Bases before a feature; None: 0, or the default of the type.
    downstream: int | None = None  # Bases after a feature; None: 0, or the default of the type.
    vcf: Path | None = None  # VCF file of variants.
    flank: int = 100  # Bases on each side of a variant.
    tile: int | None = None  # Width of tiles.
    step: int | None = None  # Bases between the starts of tiles; None: the width.
    rules: RegionConfig = field(default_factory=RegionConfig)  # Rarely changed rules of regions.
    shard: tuple[int, int] | None = None  # (i, n): only every n-th record, beginning with the i-th.

    def __post_init__(self) -> None:
        """Check the combination of options.

        Raises:
            UsageError: Options contradict each other, or a value is out of range.
        """
        self._check_options()
        # Each of these checks its own numbers.
        _ = self.tile_rules, self.feature_rules
        if self.flank < 0:
            raise UsageError(f"invalid flank of {self.flank} bases", hint="give 0 or more")
        if self.shard and not 1 <= self.shard[0] <= self.shard[1]:
            raise UsageError(
                f"there is no shard {self.shard[0]} of {self.shard[1]}",
                hint="`--shard 1/4` to `--shard 4/4` are the shards of four",
            )

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Paths of all inputs; names of the cache and `-` are no files."""
        names = (*self.files, self.genome, self.bed, self.gff, self.vcf)
        return tuple(Path(name) for name in names if name is not None)

    def _check_options(self) -> None:
        needs_genome = {"--bed": self.bed, "--vcf": self.vcf, "--gff": self.gff}
        for option, value in needs_genome.items():
            if value is not None and not self.genome:
                raise UsageError(
                    f"`{option}` needs a genome",
                    hint="name it with `--genome`, not as a file to read",
                )
        if bool(self.files) == bool(self.genome):
            raise UsageError(
                "no sequences are given"
                if not self.files
                else "both sequence files and `--genome` are given",
                hint="give FASTA files, `-`, or a cached genome; or `--genome X --bed REGIONS`",
            )
        ways = {
            "--bed": self.bed,
            "--feature": self.features,
            "--vcf": self.vcf,
            "--tile": self.tile,
        }
        selected = [option for option, value in ways.items() if value not in (None, ())]
        if len(selected) > 1:
            raise UsageError(
                f"`{selected[0]}` and `{selected[1]}` exclude each other",
                hint="run one after the other",
            )
        dependent = {
            "--gff": (self.gff, "--feature"),
            "--upstream": (self.upstream, "--feature"),
            "--downstream": (self.downstream, "--feature"),
            "--step": (self.step, "--tile"),
            "--set regions.context": (self.rules.context, "--tile"),
        }
        for option, (number, needed) in dependent.items():
            if number is not None and needed not in selected:
                raise UsageError(
                    f"`{option}` without `{needed}`",
                    hint="such as `--feature CDS`"
                    if needed == "--feature"
                    else "such as `--tile 1000 --step 500`",
                )
        inputs = [*self.files, self.genome, str(self.bed), str(self.vcf), str(self.gff)]
        if inputs.count(STDIN) > 1:
            raise UsageError("standard input can be read only once", hint="give `-` once")

    @property
    def tile_rules(self) -> TileRules | None:
        """Rules of tiles; None without tiles."""
        if self.tile is None:
            return None
        return TileRules(
            width=self.tile,
            step=self.step,
            both_strands=self.rules.both_strands,
            max_n=self.rules.max_n,
            context=self.rules.context,
        )

    @property
    def feature_rules(self) -> FeatureRules | None:
        """Rules of features; None without features."""
        if not self.features:
            return None
        return FeatureRules(types=self.features, upstream=self.upstream, downstream=self.downstream)

    @property
    def noun(self) -> str:
        """Noun of a sequence in messages."""
        if self.tile is not None:
            return "tile"
        return "region" if self.bed or self.vcf or self.features else "record"

    @property
    def has_regions(self) -> bool:
        """True if sequences have coordinates on a genome."""
        return self.noun != "record"
