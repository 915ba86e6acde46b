"""A flipped byte, a truncated tail, an empty file in every file that we write: named, never used.

The files are those that the commands of `tests/faults/commands.py` leave, so a new one is covered.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genomeformer_cli.core.corpus.reader import open_corpus
from genomeformer_cli.core.embedding.formats import FORMATS
from genomeformer_cli.core.errors import CorruptError, GenomeformerError
from genomeformer_cli.core.genomes.genome import cached_genomes
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.store.layout import Entry, Kind, Store
from genomeformer_cli.core.store.seal import SEAL, check_seal
from genomeformer_cli.core.workflows.tokenize_inspect import InspectRequest, inspect_sequences
from tests.faults.commands import COMMANDS
from tests.faults.harness import Place, contents, differences
from tests.faults.kills import run_undisturbed
from tests.files import flip_a_byte

DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped byte": flip_a_byte,
    "a truncated tail": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "an empty file": lambda path: path.write_bytes(b""),
}
# What opens an entry to use it, by its kind.
READERS: dict[Kind, Callable[[Store, Entry], object]] = {
    Kind.GENOMES: lambda store, entry: cached_genomes(store, [entry.name]),
    Kind.CORPORA: lambda store, entry: open_corpus(store, entry.name),
    Kind.WEIGHTS: lambda _, entry: read_model(entry.path),
    Kind.VOCABULARIES: lambda store, entry: inspect_sequences(
        InspectRequest(source="ACGT", vocabulary=entry.name), store=store
    ),
}
# Read and checked when its bases are read: by a checksum of gzip, and by `tokenize` by ours.
READ_LATER = (".fa.gz", ".fna.gz")


@pytest.fixture
def store(prepared_place: tuple[Place, Path], tmp_path: Path) -> Store:
    """A copy of the prepared cache."""
    return Store(Path(shutil.copytree(prepared_place[1] / "cache", tmp_path / "cache")))


def damaged_files(entry: Entry) -> Iterator[tuple[str, Path]]:
    """Damage every file of an entry in every way, one at a time."""
    for path in sorted(path for path in entry.path.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for name, damage in DAMAGE.items():
            if not content:
                continue
            damage(path)
            yield name, path
            path.write_bytes(content)


def test_verify_names_every_damaged_file(store: Store) -> None:
    tried = 0
    for entry in store.entries():
        sealed = {path.parent for path in entry.path.rglob(SEAL)}
        for damage, path in damaged_files(entry):
            if not any(path.is_relative_to(folder) for folder in sealed):
                continue
            with pytest.raises(CorruptError) as caught:
                store.verify(entry)
            assert path.name in caught.value.message or path.name == SEAL, (damage, path)
            tried += 1
        assert store.verify(entry) >= 1
    assert tried > 100


def test_no_sealed_entry_is_opened_with_a_damaged_file(store: Store) -> None:
    assert set(READERS) >= {e.kind for e in store.entries()} - {Kind.RUNS}
    for entry in store.entries():
        if entry.kind not in READERS:
            continue
        READERS[entry.kind](store, entry)
        for damage, path in damaged_files(entry):
            if path.name.endswith(READ_LATER):
                continue
            try:
                READERS[entry.kind](store, entry)
            except GenomeformerError as failure:
                named = str(path) in failure.message or path.name == SEAL
            else:
                named = path.name == SEAL and entry.kind == Kind.GENOMES  # its FASTA is read later
            assert named, (damage, path)


@pytest.mark.parametrize(
    "suffix",
    [pytest.param(one, marks=() if one == ".npy" else pytest.mark.slow) for one in FORMATS],
)
def test_a_damaged_output_is_written_anew(suffix: str, prepared_place: tuple[Place, Path]) -> None:
    place, base = prepared_place
    command = COMMANDS[f"embed {suffix}"]
    expected = run_undisturbed(command, place, base)
    for name in (f"v{suffix}.json", f"v{suffix}") if suffix == ".npy" else (f"v{suffix}",):
        flip_a_byte(place.folder / name)
        done = place.run(command.line)
        assert done.code == 0, done.err
        assert differences(contents(place), expected.contents) == []


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "summary.json.sha256"])
def test_damaged_results_of_a_run_are_not_released(
    name: str, prepared_place: tuple[Place, Path]
) -> None:
    place, base = prepared_place
    place.reset(base)
    flip_a_byte(place.cache / "runs/run" / name)
    done = place.run(("release", "run", "--name", "again"))
    assert done.code == 1, done.err
    assert name in done.err
    assert not (place.cache / "weights/again").exists()
    store = Store(place.cache)
    with pytest.raises(CorruptError, match=name):
        store.verify(store.entry(Kind.RUNS, "run"))


@pytest.mark.slow
def test_a_damaged_file_of_a_run_is_not_called_a_bug(prepared_place: tuple[Place, Path]) -> None:
    place, base = prepared_place
    command = COMMANDS["pretrain"]
    run_undisturbed(command, place, base)
    run = Store(place.cache).entry(Kind.RUNS, "new")
    for damage, path in damaged_files(run):
        done = place.run(command.line)
        assert done.code in (0, 1, 2), (damage, path, done.err)
        assert "this is a bug" not in done.err


def test_a_damaged_fasta_of_the_cache_is_not_embedded(prepared_place: tuple[Place, Path]) -> None:
    place, base = prepared_place
    place.reset(base)
    (fasta,) = [p for p in (place.cache / "genomes").rglob("*.gz") if p.name == "NC_001422.1.fa.gz"]
    name, content = fasta.parent.name, fasta.read_bytes()
    for damage in DAMAGE.values():
        damage(fasta)
        done = place.run(("embed", name, "--model", "released", "-o", "g.npy"))
        assert done.code == 1
        assert name in done.err
        assert "this is a bug" not in done.err
        assert not (place.folder / "g.npy").exists()
        fasta.write_bytes(content)


def test_a_bundle_with_a_damaged_file_is_not_whole(
    prepared_place: tuple[Place, Path], tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(prepared_place[1] / "cache/weights/tuned", tmp_path / "tuned"))
    entry = Entry(kind=Kind.WEIGHTS, name="tuned", path=bundle)
    for damage, path in damaged_files(entry):
        with pytest.raises(CorruptError) as caught:
            check_seal(bundle)
        assert path.name in caught.value.message or path.name == SEAL, (damage, path)
