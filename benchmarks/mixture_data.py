"""Genomes of the ablations of pretraining: parts of public files, crude repeats in lower case.

Repeats of the human sequences are the bases inside 12-mers that occur often in the training part.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import BASES
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes

MILLION = 1_000_000
TRAIN = {"bacteria": "train_core", "human": "train_human", "eukaryote": "train_eukaryote"}
HELD_OUT = {
    "bacteria": "validation_prokaryote",
    "human": "validation_human",
    "eukaryote": "validation_eukaryote",
}
TRAIN_BASES, HELD_OUT_BASES, WORD, OFTEN = 8 * MILLION, 2 * MILLION, 12, 60
ANNOTATED = "annotated"
SHORTEST = 4_096


def prepare(data: Path, work: Path, store: Store) -> None:
    """Write the genomes of the comparison, and make the corpora."""
    if store.has(Kind.CORPORA, ANNOTATED):
        return
    work.mkdir(parents=True, exist_ok=True)
    often = None
    files: dict[str, Path] = {}
    for name, source in {**TRAIN, **{f"held-{k}": v for k, v in HELD_OUT.items()}}.items():
        limit = HELD_OUT_BASES if name.startswith("held") else TRAIN_BASES
        records = list(first_bases(data / f"{source}.fa.gz", limit))
        if name == "human":
            often = frequent_words(records)
        path = files[name] = work / f"{name}.fa"
        with path.open("w") as file:
            for identifier, codes in records:
                is_repeat = None if "human" not in name else covered(codes, often)
                file.write(f">{identifier}\n{to_text(codes, is_repeat)}\n")
    make_corpus(store, "mixed", [files[name] for name in TRAIN], 0.01)
    for name in HELD_OUT:
        make_corpus(store, f"held-{name}", [files[f"held-{name}"]], 0.9)
    local = work / "mycoplasma.gb"
    local.write_text(annotated_genome())
    make_corpus(store, ANNOTATED, [local], 0.2)


def annotated_genome() -> str:
    """Return the sample genome of *M. genitalium* as GenBank, sequence included."""
    root = Path(__file__).parents[1]
    annotation = root / "tests/data/annotation/NC_000908.2.gb.gz"
    text = gzip.decompress(annotation.read_bytes()).decode().partition("\n//")[0]
    fasta = root / "genomeformer_cli/assets/genomes/NC_000908.2.fa.gz"
    (record,) = read_any_sequences(fasta, display_name="sample", reporter=SilentReporter())
    letters = to_text(record.codes, None).lower()
    rows = [f"{n + 1:>9} {letters[n : n + 60]}" for n in range(0, len(letters), 60)]
    return "\n".join([text, "ORIGIN", *rows, "//", ""])


def make_corpus(store: Store, name: str, files: list[Path], fraction: float) -> None:
    """Tokenize files; the tail of each record is held out."""
    split = SplitConfig(by=SplitBy.TAIL, fraction=fraction)
    request = TokenizeRequest(name=name, files=tuple(files), split=split)
    tokenize_genomes(request, reporter=SilentReporter(), store=store)


def first_bases(path: Path, limit: int) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Yield records until a number of bases; at most a quarter of what is left from each."""
    for record in read_any_sequences(path, display_name=path.name, reporter=SilentReporter()):
        codes = record.codes[: limit // 4]
        if codes.size < SHORTEST:
            continue
        yield record.id, codes
        limit -= codes.size
        if limit < SHORTEST:
            return


def words_of(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the number of the word at each base; -1 where it holds an N."""
    words = np.zeros(max(codes.size - WORD + 1, 0), dtype=np.int64)
    unknown = np.zeros(words.size, dtype=np.bool_)
    for place in range(WORD):
        part = codes[place : place + words.size].astype(np.int64)
        words = words * 4 + part % 4
        unknown |= part > 3
    words[unknown] = -1
    return words


def frequent_words(
    records: list[tuple[str, npt.NDArray[np.uint8]]],
) -> npt.NDArray[np.bool_]:
    """Return True for each word that occurs often: a crude library of repeats."""
    counts = np.zeros(4**WORD, dtype=np.int32)
    for _, codes in records:
        words = words_of(codes)
        counts += np.bincount(words[words >= 0], minlength=counts.size).astype(np.int32)
    return counts >= OFTEN


def covered(
    codes: npt.NDArray[np.uint8], often: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.bool_]:
    """Return True for each base inside a frequent word."""
    assert often is not None
    words = words_of(codes)
    starts = (words >= 0) & often[words]
    is_covered = np.zeros(codes.size, dtype=np.bool_)
    for place in range(WORD):
        is_covered[place : place + starts.size] |= starts
    return is_covered


def to_text(codes: npt.NDArray[np.uint8], is_lower: npt.NDArray[np.bool_] | None) -> str:
    """Return bases as text, lower case where it is asked for."""
    letters = np.frombuffer("".join(BASES).encode(), dtype=np.uint8)[codes]
    if is_lower is not None:
        letters = np.where(is_lower, letters | 32, letters)
    return letters.astype(np.uint8).tobytes().decode()
