"""Bases to token ids, on one thread: ours, a plain numpy table, and the tokenizers people use now.

    python benchmarks/tokenization.py [--fasta FILE] [--seconds 1.0] [--repeats 5]

Sequence bytes are in memory; FASTA parsing does not count. Peers get as many windows of 2,000 bases
as they finish in the time given; ours get everything. CPU time of one thread, medians; ids of all
that cut alike are compared. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

import genomeformer_cli
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.sequence import decode_bases, encode_bases
from genomeformer_cli.core.tokenizers.bpe import PIECE, train_bpe
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from genomeformer_cli.core.tokenizers.sampling import SampleRule, sample_windows

WINDOW = 2_000
SAMPLES = Path(genomeformer_cli.__file__).parent / "assets" / "genomes"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
Work = Callable[[bytes], object]
Peer = Callable[[list[str]], object]
ROW = "| {:<52} | {:>10} | {:>9} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fasta", type=Path, help="default: the bundled sample genomes")
    parser.add_argument("--seconds", type=float, default=1.0, help="for a peer, each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    # Read by the library when it starts its first thread.
    os.environ["RAYON_NUM_THREADS"] = "1"
    warnings.filterwarnings("ignore")
    records = read(chosen.fasta)
    num_bases = sum(map(len, records))
    print(
        f"{num_bases:,} bases in {len(records)} records, one thread; load {os.getloadavg()[0]:.1f}"
    )
    for name in ("numpy", "tokenizers", "transformers", "multimolecule"):
        print(f"{name} {version(name)}", end="; ")
    print("\n" + ROW.format("what", "Mbases/s", "ours is"))
    print(ROW.format("-" * 52, "---------:", "--------:"))
    limits(records, chosen.repeats)
    windows = [
        decode_bases(encode_bases(record[start : start + WINDOW]))
        for record in records
        for start in range(0, len(record) - WINDOW + 1, WINDOW)
    ]
    np.random.default_rng(0).shuffle(windows)
    for title, k, stride in (
        ("char", 1, 1),
        ("6-mers", 6, 6),
        ("overlapping 6-mers", 6, 1),
    ):
        ours = build_tokenizer("char") if k == 1 else build_tokenizer("kmer", k=k, stride=stride)
        best = rate(lambda one: ours.encode(encode_bases(one)), records, chosen.repeats)  # noqa: B023
        print(ROW.format(f"{title}: ours ({ours.dtype} ids)", f"{best:,.0f}", ""), flush=True)
        table = rate(lambda one: numpy_table(one, k, stride), records, chosen.repeats)  # noqa: B023
        compare(f"{title}: plain numpy table", table, best)
        for name, peer in peers(k, stride):
            compare(f"{title}: {name}", peer_rate(peer, windows, chosen), best)
    byte_pairs(records, windows, chosen)
    print(f"load at the end {os.getloadavg()[0]:.1f}; peak memory {peak_megabytes():,.0f} MB")


def read(fasta: Path | None) -> list[bytes]:
    """Sequences of a file, or of the genomes that come with the package."""
    files = [fasta] if fasta else sorted(SAMPLES.glob("*.fa.gz"))
    return [
        record.sequence.encode("ascii")
        for file in files
        for record in read_records(file)
        if record.sequence
    ]


def version(name: str) -> str:
    """Return the version of a package, or a text if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def peak_megabytes() -> float:
    """Largest resident memory of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rate(work: Work, records: list[bytes], repeats: int) -> float:
    """Mbases/s in CPU time of this thread, median of the repeats."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.thread_time()
        for record in records:
            work(record)
        times.append(time.thread_time() - start)
    return sum(map(len, records)) / statistics.median(times) / 1e6


def compare(name: str, found: float, ours: float) -> None:
    """Print a row."""
    digits = 0 if found >= 100 else 2
    print(ROW.format(name, f"{found:,.{digits}f}", f"{ours / found:,.2f}x"), flush=True)


def limits(records: list[bytes], repeats: int) -> None:
    """Print what copying and translating the same bytes takes."""
    table = bytes(range(256))
    works: dict[str, Work] = {
        "memory copy": lambda one: np.frombuffer(one, dtype=np.uint8).copy(),
        "bytes.translate": lambda one: one.translate(table),
        "bases to codes, every letter checked": encode_bases,
    }
    for name, work in works.items():
        print(ROW.format(name, f"{rate(work, records, repeats):,.0f}", ""))


CODES = np.full(256, 4, dtype=np.uint8)
for letter, code in zip("ACGTUacgtu", [0, 1, 2, 3, 3] * 2, strict=True):
    CODES[ord(letter)] = code


def numpy_table(sequence: bytes, k: int, stride: int) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The usual way: a fancy-indexed table, k shifts over the whole, [UNK] where there is an N."""
    codes = CODES[np.frombuffer(sequence, dtype=np.uint8)]
    if k == 1:
        return codes + np.uint8(5)
    num_words = (codes.size - k) // stride + 1
    words: npt.NDArray[np.uint16] = np.zeros(max(num_words, 0), dtype=np.uint16)
    unknown = np.zeros(words.size, dtype=np.bool_)
    for place in range(k):
        letters = codes[place : place + (words.size - 1) * stride + 1 : stride][: words.size]
        words = (words << 2 | letters & 3).astype(np.uint16, copy=False)
        unknown |= letters > 3
    return np.where(unknown, np.uint16(1), words + np.uint16(5))


def peer_rate(peer: Peer, windows: list[str], chosen: argparse.Namespace) -> float:
    """Mbases/s of a peer on as many windows as fit the time; each repeat takes others."""
    peer(windows[:2])
    rates: list[float] = []
    place = 0
    for _ in range(chosen.repeats):
        size, start = 0, time.process_time()
        while time.process_time() - start < chosen.seconds:
            batch = [windows[(place + number) % len(windows)] for number in range(8)]
            peer(batch)
            place += len(batch)
            size += sum(map(len, batch))
        rates.append(size / (time.process_time() - start) / 1e6)
    return statistics.median(rates)


def peers(k: int, stride: int) -> Iterator[tuple[str, Peer]]:
    """Tokenizers that others use for these tokens."""
    words = ["".join(letters) for letters in product("ACGT", repeat=k)]
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *words, "N"])}
    if k > 1:
        vocabulary |= {base: len(vocabulary) + number for number, base in enumerate("ACGT")}
    joined = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=SPECIALS[1]))
    joined.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    yield (
        "WordLevel on words joined by blanks",
        lambda texts: joined.encode_batch([join(text, k, stride) for text in texts]),
    )
    if stride == k:
        divided = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=SPECIALS[1]))
        divided.pre_tokenizer = pre_tokenizers.Split(
            Regex(f"[ACGT]{{{k}}}|[ACGTN]" if k > 1 else "."), "isolated"
        )
        yield "WordLevel, Split by a regular expression", divided.encode_batch
    yield from transformers_peers(vocabulary, k, stride)
    yield from multimolecule_peers(k, stride)


def join(text: str, k: int, stride: int) -> str:
    """Words with blanks between."""
    return " ".join(text[start : start + k] for start in range(0, len(text) - k + 1, stride))


def transformers_peers(
    vocabulary: dict[str, int], k: int, stride: int
) -> Iterator[tuple[str, Peer]]:
    """EsmTokenizer (Nucleotide Transformer) and BertTokenizer (DNABERT)."""
    try:
        library: Any = importlib.import_module("transformers")
    except ImportError:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.txt"
        file.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        if stride == k:
            names = dict(zip(("pad", "unk", "cls", "eos", "mask"), SPECIALS, strict=True))
            special = {f"{role}_token": token for role, token in names.items()}
            esm = library.EsmTokenizer(str(file), **special)
            yield "EsmTokenizer", lambda texts: [esm(text) for text in texts]
        bert = library.BertTokenizer(str(file), do_lower_case=False)
        yield (
            "BertTokenizer on words joined by blanks",
            lambda texts: [bert(join(text, k, stride)) for text in texts],
        )


def multimolecule_peers(k: int, stride: int) -> Iterator[tuple[str, Peer]]:
    """DnaTokenizer of multimolecule."""
    if stride == k > 1:
        return
    try:
        library: Any = importlib.import_module("multimolecule")
    except ImportError:
        return
    dna = library.DnaTokenizer(nmers=k) if k > 1 else library.DnaTokenizer()
    yield "multimolecule DnaTokenizer", lambda texts: [dna(text) for text in texts]


def byte_pairs(records: list[bytes], windows: list[str], chosen: argparse.Namespace) -> None:
    """Train and encode beside the plain library on the same bases."""
    rule = SampleRule(num_bases=1 << 20)
    texts = sample_windows(records, rule).windows
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.Split(Regex(f"[ACGT]{{1,{PIECE}}}|N"), "isolated")
    our_times: list[float] = []
    plain_times: list[float] = []
    for _ in range(3):
        start = time.process_time()
        ours = train_bpe(records, 4096, rule=rule)
        our_times.append(time.process_time() - start)
        start = time.process_time()
        trainer = trainers.BpeTrainer(vocab_size=4096, min_frequency=2, show_progress=False)
        plain.train_from_iterator(texts, trainer)
        plain_times.append(time.process_time() - start)
    size = sum(map(len, texts)) / 1e6
    best = size / statistics.median(our_times)
    print(ROW.format("byte pairs, training: ours, drawing included", f"{best:.2f}", ""))
    name = "byte pairs, training: plain tokenizers, same text"
    compare(name, size / statistics.median(plain_times), best)
    same = Tokenizer(models.BPE.from_file(*save(ours.to_json())))
    same.pre_tokenizer = plain.pre_tokenizer
    raw = [text.encode("ascii") for text in windows]
    place = {text: number for number, text in enumerate(windows)}

    def encode_ours(batch: list[str]) -> object:
        return [ours.encode(encode_bases(raw[place[text]])) for text in batch]

    best = peer_rate(encode_ours, windows, chosen)
    print(ROW.format(f"byte pairs, {len(ours.tokens):,}: ours", f"{best:.2f}", ""), flush=True)
    compare("byte pairs: plain tokenizers", peer_rate(to_lists(same), windows, chosen), best)
    cased = Tokenizer.from_str(json.dumps(ours.to_json()))
    any_case = peer_rate(to_lists(cased), windows, chosen)
    compare("byte pairs: our JSON in tokenizers, any letters", any_case, best)
    agree = all(
        same.encode(text).ids == ours.encode(encode_bases(text)).tolist() for text in windows[:50]
    )
    print(f"byte pairs: the same ids on 50 windows: {agree}")


def to_lists(tool: Tokenizer) -> Peer:
    """Ids of a batch."""
    return lambda texts: [one.ids for one in tool.encode_batch(texts, add_special_tokens=False)]


def save(plain: dict[str, Any]) -> tuple[str, str]:
    """Vocabulary and merges as the library's own files."""
    folder = Path(tempfile.mkdtemp())
    (folder / "vocab.json").write_text(json.dumps(plain["model"]["vocab"]), encoding="utf-8")
    pairs: Iterable[list[str]] = plain["model"]["merges"]
    text = "".join(f"{left} {right}\n" for left, right in pairs)
    (folder / "merges.txt").write_text("#version: 0.2\n" + text, encoding="utf-8")
    return str(folder / "vocab.json"), str(folder / "merges.txt")


if __name__ == "__main__":
    main()
