"""Taxa and assemblies of the small NCBI, generated at test time from a seed."""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass, field

TAXA: dict[int, tuple[int, str, str]] = {
    1: (1, "no rank", "root"),
    131567: (1, "cellular root", "cellular organisms"),
    2: (131567, "domain", "Bacteria"),
    543: (2, "family", "Enterobacteriaceae"),
    561: (543, "genus", "Escherichia"),
    562: (561, "species", "Escherichia coli"),
    511145: (562, "strain", "Escherichia coli str. K-12 substr. MG1655"),
    83334: (562, "serotype", "Escherichia coli O157:H7"),
    564: (561, "species", "Escherichia fergusonii"),
    620: (543, "genus", "Shigella"),
    623: (620, "species", "Shigella flexneri"),
    1386: (2, "genus", "Bacillus"),
    1423: (1386, "species", "Bacillus subtilis"),
    224308: (1423, "strain", "Bacillus subtilis subsp. subtilis str. 168"),
    33208: (1, "kingdom", "Metazoa"),
    55087: (33208, "genus", "Bacillus"),
    9999: (543, "species", "Escherichia nowhere"),
}
MERGED = {469598: 562}
SYNONYMS = {"Bacterium coli": 562, "E. coli": 562, "hay bacillus": 1423}


@dataclass(kw_only=True)
class FakeAssembly:
    """One assembly of the small NCBI."""

    accession: str
    taxid: int
    name: str
    level: str = "Complete Genome"
    status: str = "current"
    released: str = "2015-01-01"
    reference: bool = False
    type_material: bool = False
    atypical: bool = False
    mag: bool = False
    paired: str | None = None
    current: str | None = None
    completeness: float | None = 98.5
    contamination: float | None = 0.4
    annotated: bool = False
    has_md5s: bool = True
    moved: bool = False
    num_attributes: int = 0
    records: list[tuple[str, str]] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Directory in the genomes area, odd characters replaced as NCBI does."""
        name = self.name
        for odd in " \\/,#()":
            name = name.replace(odd, "_")
        kind, digits = self.accession[:3], self.accession[4:13]
        groups = f"{digits[:3]}/{digits[3:6]}/{digits[6:9]}"
        suffix = "_renamed" if self.moved else ""
        return f"/genomes/all/{kind}/{groups}/{self.accession}_{name}{suffix}"

    @property
    def stem(self) -> str:
        return self.folder.rsplit("/", 1)[1]

    @property
    def fasta_path(self) -> str:
        return f"{self.folder}/{self.stem}_genomic.fna.gz"

    @property
    def num_bases(self) -> int:
        return sum(len(sequence) for _, sequence in self.records)

    def fasta(self) -> bytes:
        """The file's bytes, the same every time."""
        lines = []
        for header, sequence in self.records:
            lines.append(f">{header}\n")
            lines += [f"{sequence[i : i + 80]}\n" for i in range(0, len(sequence), 80)]
        return gzip.compress("".join(lines).encode(), compresslevel=1, mtime=0)

    def gff(self) -> bytes:
        name = self.records[0][0].split()[0]
        text = f"##gff-version 3\n{name}\tRefSeq\tgene\t1\t90\t.\t+\t.\tID=gene-1\n"
        return gzip.compress(text.encode(), mtime=0)

    def gbff(self) -> bytes:
        text = f"LOCUS       {self.records[0][0].split()[0]}\n//\n"
        return gzip.compress(text.encode(), mtime=0)


def _assemblies() -> list[FakeAssembly]:
    a = FakeAssembly
    return [
        a(
            accession="GCF_000005845.2",
            taxid=511145,
            name="ASM584v2",
            reference=True,
            paired="GCA_000005845.2",
            released="2013-09-26",
            annotated=True,
        ),
        a(
            accession="GCA_000005845.2",
            taxid=511145,
            name="ASM584v2",
            paired="GCF_000005845.2",
            released="2013-09-26",
        ),
        a(accession="GCF_000008865.2", taxid=83334, name="ASM886v2", annotated=True),
        a(accession="GCF_900000001.1", taxid=562, name="5008_7#11 (x)", level="Contig"),
        a(
            accession="GCF_900000002.1",
            taxid=562,
            name="bin.7",
            level="Scaffold",
            mag=True,
            completeness=71.0,
            contamination=6.0,
        ),
        a(accession="GCF_900000003.1", taxid=562, name="odd", atypical=True),
        a(accession="GCF_900000004.1", taxid=562, name="gone", status="suppressed"),
        a(
            accession="GCF_900000005.1",
            taxid=562,
            name="ASM5v1",
            status="previous",
            current="GCF_900000005.2",
        ),
        a(accession="GCF_900000005.2", taxid=562, name="ASM5v2", level="Chromosome"),
        a(accession="GCF_900000006.1", taxid=564, name="old name", moved=True, type_material=True),
        a(accession="GCF_900000007.1", taxid=562, name="nosums", has_md5s=False, level="Contig"),
        a(
            accession="GCF_900000008.1",
            taxid=562,
            name="late",
            released="2024-06-01",
            completeness=None,
            contamination=None,
        ),
        a(accession="GCA_900000009.1", taxid=562, name="gbonly", level="Contig"),
        a(accession="GCF_000009045.1", taxid=224308, name="ASM904v1", reference=True),
        a(accession="GCF_000006925.2", taxid=623, name="ASM692v2", reference=True),
    ]


@dataclass(kw_only=True)
class World:
    """Everything the small NCBI knows. Tests may change it between requests."""

    assemblies: list[FakeAssembly]
    page_size: int = 3
    links_scheme: str = "https"

    def children(self, taxid: int) -> set[int]:
        """The taxon and all below it."""
        found = {taxid}
        while True:
            more = {t for t, (parent, _, _) in TAXA.items() if parent in found} | found
            if more == found:
                return found
            found = more

    def assembly(self, accession: str) -> FakeAssembly | None:
        return next((a for a in self.assemblies if a.accession == accession), None)

    def lineage(self, taxid: int) -> list[int]:
        found = [taxid]
        while TAXA[found[-1]][0] != found[-1]:
            found.append(TAXA[found[-1]][0])
        return found


def make_world(
    *,
    seed: int = 0,
    smallest: int = 2_000,
    largest: int = 12_000,
    only: tuple[str, ...] = (),
) -> World:
    """The world of most tests: 15 assemblies, two to three of everything that is odd."""
    draw = random.Random(seed)
    assemblies = [a for a in _assemblies() if not only or a.accession in only]
    for number, assembly in enumerate(assemblies):
        length = draw.randint(smallest, largest)
        records = [(f"NZ_{number:06d}.1 chromosome", "".join(draw.choices("ACGT", k=length)))]
        if number % 3 == 2:
            plasmid = "".join(draw.choices("ACGTn", k=smallest // 2))
            records.append((f"NZ_{number:06d}.2 plasmid p1", plasmid))
        assembly.records = records
    return World(assemblies=assemblies)
