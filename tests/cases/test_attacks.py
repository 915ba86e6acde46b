"""Hostile bundles, archives and names: refused at once, in words, without harm."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.errors import (
    CheckpointError,
    CorruptError,
    GenomeformerError,
)
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.model_io.archive import pack, unpack_archive
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.bpe import train_bpe
from genomeformer_cli.core.tokenizers.files import load_tokenizer, save_tokenizer
from tests.bundles import make_bundle
from tests.cli import RunCommand
from tests.failures import assert_failure

MOST_MEMBERS = 20
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session")
def made_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "bundle").folder


@pytest.fixture
def bundle(made_bundle: Path, tmp_path: Path) -> Path:
    """This test's own copy, to be damaged."""
    return Path(shutil.copytree(made_bundle, tmp_path / "bundle"))


def edit_json(path: Path, edit: Edit) -> None:
    """Change a JSON file and seal its folder again."""
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    seal(path.parent)


# attack-03: one huge id in a vocabulary of 1.6 kB


@pytest.mark.parametrize("number", [10**6, 10**8, 2**31, 2**63, 10**400, -1], ids=range(6))
@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_a_huge_token_id_is_refused_in_no_time_and_no_memory(
    tmp_path: Path, bundle: Path, number: int, kind: str
) -> None:
    folder = bundle
    if kind == "bpe":
        folder = tmp_path / "bpe"
        folder.mkdir()
        save_tokenizer(train_bpe([b"ACGTTGCA" * 40], 20), folder)
    edit_json(folder / "tokenizer.json", lambda v: v["model"]["vocab"].update(zz=number))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"tokenizer"):
            load_tokenizer(folder)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "edit",
    [
        lambda v: v["added_tokens"][0].update(id=3 * 10**8),
        lambda v: v["added_tokens"].append({**v["added_tokens"][0], "id": 10**9, "content": "x"}),
        lambda v: v.update(padding={"strategy": {"Fixed": 10**12}}),
        lambda v: v["normalizer"]["normalizers"][0]["pattern"].update(Regex="((a{999}){999}){999}"),
        lambda v: v.update(added_tokens=7),
        lambda v: v.update(model=[]),
    ],
    ids=["special-id", "added-id", "padding", "expression", "no-list", "no-model"],
)
def test_other_hostile_tokenizers_are_refused_or_harmless(bundle: Path, edit: Edit) -> None:
    edit_json(bundle / "tokenizer.json", edit)
    try:
        tokenizer = load_tokenizer(bundle)
    except CheckpointError:
        return
    assert len(tokenizer.tokens) == 10


def test_merges_of_unknown_tokens_never_reach_the_native_library(tmp_path: Path) -> None:
    save_tokenizer(train_bpe([b"ACGTTGCA" * 40], 20), tmp_path)
    for merges in ([["A", "ZZ"]], [["", ""]], [["A", "C"]] * 70_000, ["A C G"], 5, [[1, 2]]):

        def replace_merges(value: dict[str, Any], merges: Any = merges) -> None:
            value["model"]["merges"] = merges

        edit_json(tmp_path / "tokenizer.json", replace_merges)
        with pytest.raises(CheckpointError, match="no readable tokenizer"):
            load_tokenizer(tmp_path)


# attack-04: a configuration that asks for a model of any size


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("depth", 10**9),
        ("width", 4 * 10**9),
        ("width", 4 * 10**30),
        ("patch", 10**9),
        ("conv_width", 10**9 + 1),
        ("mlp_width", 10**12),
        ("vocabulary_size", 10**15),
        ("num_heads", 10**9),
        ("context", "many"),
        ("rotary_base", 0),
        ("rotary_base", -1.5),
        ("complement", "x"),
        ("attention", 5),
        ("attention", {"name": "nystromformer", "inverse_iterations": 10**9}),
        ("attention", {"name": "performer", "num_features": 10**12}),
    ],
)
def test_a_configuration_of_another_size_is_refused_before_memory_is_taken(
    bundle: Path, key: str, value: object
) -> None:
    edit_json(bundle / "config.json", lambda v: v["model"].update({key: value}))
    with pytest.raises(GenomeformerError) as caught:
        read_model(bundle)
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        '{"model_type": "genomeformer-encoder", "model": {}, "quantization": 5}',
        '{"model_type": "genomeformer-encoder", "model": {}, "embedding": []}',
        '{"model_type": "genomeformer-encoder", "model": {"rotary_base": Infinity}}',
        '{"model_type": "genomeformer-encoder", "model": {"depth": ' + "9" * 5000 + "}}",
        '{"model_type": "genomeformer-encoder", "model": {"depth": 1e400}}',
        '{"model_type": "genomeformer-encoder", "model": ' + "[" * 100_000,
        '{"model_type": "genomeformer-encoder", "model": {"width": ' + "[" * 70 + "]" * 70 + "}}",
        "[]",
        "\xff\xfe",
        "",
    ],
    ids=range(10),
)
def test_an_odd_configuration_names_the_file(bundle: Path, run_cli: RunCommand, text: str) -> None:
    (bundle / "config.json").write_bytes(text.encode("latin-1"))
    seal(bundle)
    done = run_cli("release", "--verify", str(bundle))
    assert done.exit_code in (1, 2), done.err
    assert "config.json" in done.err
    assert "unexpected" not in done.err


def header_of(value: object, rest: bytes = b"") -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize(
    "content",
    [
        header_of([]),
        header_of({"__metadata__": 5}),
        header_of({"__metadata__": {"a": 1}}),
        header_of({"x": 5}),
        header_of({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"0000"),
        header_of({"x": {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 4]}}, b"0000"),
        header_of({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 10**12]}}, b"0000"),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        b"",
        b"1234",
    ],
    ids=range(11),
)
def test_an_odd_header_of_weights_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "model.safetensors").write_bytes(content)
    seal(bundle)
    with pytest.raises(CheckpointError):
        read_model(bundle)


# An archive that unpacks to anything


def archive_of(path: Path, *members: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member(".")],
        [member("./README.md")],
        [member("")],
        [member("/etc/README.md")],
        [member("gf/../../README.md")],
        [member("gf/README.md", tarfile.SYMTYPE, "/etc/passwd")],
        [member("gf/README.md", tarfile.LNKTYPE, "../x")],
        [member("gf/README.md", tarfile.FIFOTYPE)],
        [member("gf/README.md"), member("gf/README.md")],
        [member("gf/README.md"), member("fg/LICENSE")],
        [member("gf/\x1b[31mREADME.md")],
        [member(f"gf/images/{n}.png") for n in range(MOST_MEMBERS + 1)],
    ],
    ids=range(12),
)
def test_an_odd_archive_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many as the format allows would take seconds to pack.
    monkeypatch.setattr("genomeformer_cli.core.model_io.archive._MAX_MEMBERS", MOST_MEMBERS)
    archive = archive_of(tmp_path / "x.tar.gz", *members)
    store = Store(tmp_path / "cache")
    with pytest.raises(CorruptError):
        unpack_archive(archive, store)
    assert not [path for path in store.root.rglob("*") if path.name in ("README.md", "LICENSE")]


def test_a_compression_bomb_fills_no_disk(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tar.gz"
    with (
        gzip.open(archive, "wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name in ("README.md", "LICENSE"):
            info = tarfile.TarInfo(f"gf/{name}")
            info.size = 48 << 20
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(CorruptError, match="unpacks to more than"):
        unpack_archive(archive, Store(tmp_path / "cache"))
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) < 1 << 20


def test_a_header_of_an_archive_may_not_be_a_bomb_either(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tar.gz"
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 80 << 20
    with gzip.open(archive, "wb", compresslevel=1) as packed:
        packed.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(80):
            packed.write(bytes(1 << 20))
    with pytest.raises(CorruptError):
        unpack_archive(archive, Store(tmp_path / "cache"))


def test_every_cut_of_an_archive_is_refused(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, "gf", tmp_path / "gf.tar.gz")
    content = (tmp_path / "gf.tar.gz").read_bytes()
    cut = tmp_path / "cut.tar.gz"
    for stop in range(0, len(content) - 9, max(1, len(content) // 25)):
        cut.write_bytes(content[:stop])
        with pytest.raises(CorruptError):
            unpack_archive(cut, Store(tmp_path / "cache"))


# attack-11: weights that are not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(
    bundle: Path, tmp_path: Path, run_cli: RunCommand, value: float
) -> None:
    path = bundle / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.dim() > 1)
    tensors[name].view(-1)[3] = value
    save_file(tensors, path, metadata={"format": "pt"})
    seal(bundle)
    (tmp_path / "a.fa").write_text(">a\nACGTACGT\n", encoding="utf-8")
    for arguments in (
        ("embed", str(tmp_path / "a.fa"), "-o", str(tmp_path / "a.npy")),
        ("score", str(tmp_path / "a.fa")),
    ):
        done = run_cli(*arguments, "--model", str(bundle))
        assert_failure(done, "not finite", name, hint="damaged")
    assert "not finite" in run_cli("release", "--verify", str(bundle)).err
    assert not (tmp_path / "a.npy").exists()


@pytest.mark.parametrize("per_base", [False, True])
def test_rows_without_numbers_are_an_error_where_there_are_bases(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, per_base: bool
) -> None:
    embedder = Embedder(read_model(bundle), EmbedOptions(pool="none" if per_base else "mean"))
    good = embedder._forward
    empty, real = (np.array(codes, dtype=np.uint8) for codes in ([4, 4], [0, 1, 4, 2]))

    def embed() -> None:
        if per_base:
            embedder.embed_bases([empty, real], np.zeros((6, embedder.width), np.float32))
        else:
            assert np.isnan(embedder.embed([empty, real])[0]).all()

    embed()
    monkeypatch.setattr(embedder, "_forward", lambda tokens: good(tokens) * float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        embed()


# attack-13: names that are commands to a terminal


def test_control_characters_of_names_reach_no_message(
    bundle: Path, tmp_path: Path, run_cli: RunCommand
) -> None:
    source, model = tmp_path / "esc.fa", ("--model", str(bundle))
    name = b"a\x1b]0;owned\x07\x1b[2J[red]b[/red]\x9b31m"
    source.write_bytes(b">" + name + b"\nACGT\n>" + name + b"\nNNNN\n>x\x1b[1m\nAC!T\n")
    for arguments in (
        ("embed", str(source), "-o", str(tmp_path / "e.npy"), *model),
        ("score", str(source), *model),
        ("tokenize", str(source), "--name", "e\x1b"),
        ("embed", str(tmp_path / "no\x1b[31m.fa"), "-o", str(tmp_path / "e.npy"), *model),
        ("embed", str(source), "--model", "no\x1b[31m", "-o", str(tmp_path / "e.npy")),
        ("cache", "rm", "genomes/\x1b[31m"),
        ("fetch", "--taxon", "\x1b[31m", "--offline"),
        ("pretrain", "\x1b[31m"),
    ):
        done = run_cli(*arguments)
        shown = done.err
        assert not set(shown) & set("\x1b\x07\x9b"), arguments
        assert done.exit_code not in (0, 70)


def test_names_of_files_need_not_be_utf_8(
    bundle: Path, tmp_path: Path, run_cli: RunCommand
) -> None:
    model = ("--model", str(bundle))
    source, output = tmp_path / "a\udcff.fa", tmp_path / "b\udcfe.npy"
    source.write_text(">a\nACGTACGT\n", encoding="utf-8")
    done = run_cli("embed", str(source), "-o", str(output), *model)
    assert done.exit_code == 0, done.err
    assert output.stat().st_size > 0
    assert r"b\udcfe.npy" in done.out
    done = run_cli("embed", str(tmp_path / "no\udcff.fa"), "-o", str(output), *model)
    assert_failure(done, r"no\udcff.fa")
    for arguments in (
        ("tokenize", str(source), "--name", "odd\udcff"),
        ("score", str(source), *model, "-o", str(tmp_path / "s\udcff.tsv")),
        ("fetch", "--lock", str(source)),
        ("release", str(bundle), "-o", str(tmp_path / "bundle\udcff")),
        ("release", "--verify", str(source)),
    ):
        done = run_cli(*arguments)
        assert done.exit_code != 70, done.err
        assert "unexpected" not in done.err


def test_a_genome_that_lost_its_file_is_an_error_that_names_it(
    cache_home: Path, run_cli: RunCommand
) -> None:
    install_sample(sample_genomes()[0], store=Store(cache_home))
    for path in (cache_home / "genomes").rglob("*.fa.gz"):
        path.unlink()
    done = run_cli("tokenize", "--all", "--name", "again")
    assert done.exit_code == 1
    assert ".fa.gz" in done.err
    assert "unexpected" not in done.err
