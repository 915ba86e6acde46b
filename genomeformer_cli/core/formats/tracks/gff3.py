"""GFF3: one feature per hit, and the length of every record in the header.

The type is the class where the Sequence Ontology has a term of that name, else `sequence_feature`.
Positions are 1-based and closed. The score has six significant digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from genomeformer_cli.core.formats.tracks.elements import Chromosome, Hit

SOURCE = "genomeformer"
_OTHER_TYPE = "sequence_feature"
# Terms of the Sequence Ontology that a class may be named after.
_TYPES = frozenset(
    (
        *("gene", "CDS", "exon", "intron", "mRNA", "tRNA", "rRNA", "ncRNA", "promoter"),
        *("terminator", "enhancer", "silencer", "insulator", "operator", "operon", "repeat_region"),
        *("TF_binding_site", "origin_of_replication", "five_prime_UTR", "three_prime_UTR"),
        *("intergenic_region", "CpG_island", "mobile_genetic_element", "prophage", "pseudogene"),
    )
)


def write_gff3(hits: Iterable[Hit], file: IO[bytes], *, chromosomes: Sequence[Chromosome]) -> int:
    """Write sorted hits and return their number.

    Args:
        hits: Sorted hits.
        file: Binary file.
        chromosomes: Records of the genome, in its order.
    """
    file.write(b"##gff-version 3\n")
    for chromosome in chromosomes:
        name = _escape(chromosome.name, ">")
        file.write(f"##sequence-region {name} 1 {chromosome.length}\n".encode())
    count = 0
    for count, hit in enumerate(hits, start=1):
        kind = hit.label if hit.label in _TYPES else _OTHER_TYPE
        note = f"ID=hit{count};Name={_escape(hit.label, ';=&,')}"
        place = (hit.start + 1, hit.end, f"{hit.score:.6g}", hit.strand)
        cells = (_escape(hit.chrom, ">"), SOURCE, kind, *place, ".", note)
        file.write(("\t".join(map(str, cells)) + "\n").encode())
    return count


def _escape(text: str, reserved: str) -> str:
    """Return the text with percent escapes for control characters, blanks and reserved letters."""
    return "".join(
        "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
        if letter in reserved or letter in "% " or not letter.isprintable()
        else letter
        for letter in text
    )
