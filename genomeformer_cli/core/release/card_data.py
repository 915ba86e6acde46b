"""The part of a card that says what a model saw, and what it never saw: genomes and organisms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from genomeformer_cli.core.escaping import markdown
from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.release.organisms import BOTH, HELD_OUT, Organism

_MOST_ROWS = 1_000
_MOST_ACCESSIONS = 8
# Longer tables are folded.
_SHORT = 20


@dataclass(frozen=True, kw_only=True)
class CardGenome:
    """A genome of the corpus, and what it was used for.

    Attributes:
        genome: As the cache knows it.
        role: `trained on`, `held out`, or `both`, where parts of it are held out.
        records: Ids of its records.
        descriptions: What their headers say behind the ids, one a record; empty if unknown.
        organisms: Whose these records are, if the genome's own entry does not say.
    """

    genome: Genome
    role: str
    records: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    organisms: tuple[Organism, ...] = ()


def data_section(genomes: Sequence[CardGenome], split_rule: str, tokenizer: str) -> str:
    """The section `Data` of a card.

    Args:
        genomes: Of the corpus.
        split_rule: Who was held out, in words.
        tokenizer: Kind of tokenizer, with its settings.
    """
    trained = sum(one.role != HELD_OUT for one in genomes)
    headings = ("genome", "organism", "taxid", "bases", "used", "licence", "source")
    rows = [_genome_row(one) for one in genomes]
    return f"""## Data

{len(genomes):,} genomes, {trained:,} of them trained on; `genomes.lock.jsonl` has every
file with its checksum, and `genomeformer fetch --lock` brings those again that came from NCBI.

{_table(headings, rows, f"{len(rows):,} genomes")}
{_taxa(genomes)}{_organisms(genomes)}
Split: {split_rule}; what is held out was never trained on.
Tokenizer: `{tokenizer}`; lower case is the same base, U is T, every other IUPAC code is N.
An N is a token of its own, is never a target, and never enters a vector.
"""


def _genome_row(one: CardGenome) -> Sequence[str]:
    genome = one.genome
    records = f" ({len(one.records):,} records)" if len(one.records) > 1 else ""
    known = "below" if one.organisms else "not stated"
    return (
        f"{genome.accession or genome.name}{records}",
        genome.organism or known,
        str(genome.taxid or ""),
        f"{genome.num_bases:,}",
        one.role,
        genome.licence or "not stated",
        genome.source,
    )


def _organisms(genomes: Sequence[CardGenome]) -> str:
    """Tables of those whom the headers of the files name: held out first, as they are few."""
    found = [organism for one in genomes for organism in one.organisms]
    parts = [
        _organism_table(title, [one for one in found if one.role in roles])
        for title, roles in (
            ("Held out", (HELD_OUT,)),
            ("Trained on but for held-out parts", (BOTH,)),
            ("Trained on", ("trained on",)),
        )
    ]
    return "".join(parts)


def _organism_table(title: str, organisms: Sequence[Organism]) -> str:
    if not organisms:
        return ""
    num_records = sum(len(one.accessions) for one in organisms)
    summary = f"{_counted(len(organisms), 'set')}, {_counted(num_records, 'record')}"
    rows = [
        (
            one.name or "not stated",
            _accessions(one.accessions),
            "" if one.num_bases is None else f"{one.num_bases:,}",
        )
        for one in organisms
    ]
    table = _table(("organism", "accessions", "bases"), rows, f"{title}: {summary}")
    return f"\n### {title}, by the headers of the files\n\n{summary}.\n\n{table}\n"


def _accessions(accessions: Sequence[str]) -> str:
    if len(accessions) <= _MOST_ACCESSIONS:
        return ", ".join(accessions)
    return f"{min(accessions)} to {max(accessions)} ({len(accessions):,} records)"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], summary: str) -> str:
    """A table; a long one is folded, and says where the rest of a very long one is."""
    shown = [[markdown(cell) for cell in row] for row in rows[:_MOST_ROWS]]
    lines = [headings, ["---"] * len(headings), *shown]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    if len(rows) > _MOST_ROWS:
        table += f"\n\n{len(rows) - _MOST_ROWS:,} more are in `genomes.lock.jsonl`."
    if len(rows) <= _SHORT:
        return table
    return f"<details>\n<summary>{summary}</summary>\n\n{table}\n\n</details>"


def _taxa(genomes: Sequence[CardGenome]) -> str:
    """How many genomes of each phylum, where lineages are known."""
    phyla: Counter[str] = Counter(
        taxon.name
        for one in genomes
        for taxon in one.genome.lineage
        if taxon.rank == "phylum" and taxon.name
    )
    if not phyla:
        return ""
    counted = ", ".join(f"{markdown(name)} {number:,}" for name, number in phyla.most_common())
    return f"\nGenomes by phylum: {counted}.\n"
