"""The card of a model: filled from measurements, resumed, never stale."""

from __future__ import annotations

import json
from pathlib import Path

import card
import numpy as np
import pytest
from phage_genomes import HOST, PHAGE, PhageHostConfig, draw_regions, read_genomes, split_genomes
from phage_host import Cache, measure

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.sequence import decode_bases, encode_bases, reverse_complement_codes
from genomeformer_cli.core.store.seal import check_seal, seal
from tests.bundles import make_bundle

AT_RICH, GC_RICH = (0.35, 0.15, 0.15, 0.35), (0.15, 0.35, 0.35, 0.15)
SMALL = ["--windows", "6", "--regions", "24"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hosts, six phages of which two are related, held-out files, and a task."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)

    def draw(size: int, shares: tuple[float, ...]) -> str:
        return "".join(rng.choice(list("ACGT"), size, p=shares))

    genomes, rows = root / "genomes", ["id\tgroup\tgenus\tspecies\tfile"]
    genomes.mkdir()
    shared = draw(4_000, GC_RICH)
    reverse = reverse_complement_codes(encode_bases(shared))
    texts = {"train_a.fa": "", "validation_b.fa": ""}
    for index in range(6):
        rows.append(f"h{index}\tbac\tGenus{index}\tHostus {index}\ttrain_a.fa")
        texts["train_a.fa"] += f">h{index}|r Hostus {index}\n{draw(8_100, AT_RICH)}\n"
        rows.append(f"p{index}\tphage\t\tPhage {index}\ttrain_a.fa")
        own = draw(4_100, GC_RICH)
        tail = {0: shared, 1: decode_bases(reverse)}.get(index, draw(4_000, GC_RICH))
        texts["train_a.fa"] += f">p{index}|r Phage {index}\n{own}{tail}\n"
    for name in ("v0", "v1"):
        rows.append(f"{name}\tbac\tVib\tVibrio {name}\tvalidation_b.fa")
        texts["validation_b.fa"] += f">{name}|r Vibrio\n{draw(400, AT_RICH)}\n"
    texts["train_human.fa"] = f">x|1 Homo\n{draw(3_000, AT_RICH)}\n"
    texts["validation_human.fa"] = f">x|2 Homo\n{draw(400, AT_RICH)}\n"
    for name, text in texts.items():
        (genomes / name).write_text(text, encoding="utf-8")
    (genomes / "genomes.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    lines = ["id\tsequence\tlabel\tsplit"]
    for index in range(60):
        sequence = draw(24, AT_RICH if index % 2 else GC_RICH)
        split = "train" if index < 36 else "val" if index < 44 else "test"
        lines.append(f"r{index}\t{sequence}\t{index % 2}\t{split}")
    (root / "tasks").mkdir()
    (root / "tasks" / "toy.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "tasks" / "INDEX.tsv").write_text("task\trows\ntoy\t60\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose pictures include one of an earlier evaluation."""
    folder = tmp_path_factory.mktemp("model") / "bundle"
    make_bundle(folder)
    (folder / "images" / "evaluation-1-1.png").write_bytes(b"")
    seal(folder)
    return folder


def write(data: Path, bundle: Path, work: Path, *options: str) -> int:
    """Run `make card`."""
    arguments = ["--data", str(data), "--model", str(bundle), "--work", str(work)]
    return card.main([*arguments, *SMALL, *options])


def test_a_card_is_filled_from_saved_measurements_and_resumed(
    data: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (bundle / "README.md").read_bytes()
    assert write(data, bundle, tmp_path, "--only", "likelihood", "--seconds", "0") == 75
    assert (bundle / "README.md").read_bytes() == before
    assert "the same command continues" in capsys.readouterr().err
    assert write(data, bundle, tmp_path) == 0
    assert "measuring" in capsys.readouterr().err
    check_seal(bundle)
    assert not (bundle / "images" / "evaluation-1-1.png").exists()
    text = (bundle / "README.md").read_text(encoding="utf-8")
    results = json.loads((bundle / "eval_results.json").read_text(encoding="utf-8"))["card"]
    assert results["missing"] == {}
    prokaryotes, *genomes = results["likelihood"]
    assert {row["part"] for row in genomes} == {"Vibrio v0", "Vibrio v1", "human"}
    assert prokaryotes["num_bases"] == sum(row["num_bases"] for row in genomes[:2])
    assert f"{prokaryotes['bits']['model'][0]:.4f} [" in text
    human = next(row for row in genomes if row["part"] == "human")
    gain = human["bits"]["best"][0] - human["bits"]["model"][0]
    assert human["gains"]["best"][0] == pytest.approx(gain, abs=2e-4)
    toy = results["probes"][0]
    assert f"| toy | {toy['family']} | {toy['mcc']['model default'][0]:.3f} [" in text
    assert results["phage_host"]["lengths"]["2000"]["rows"]["6-mers"]["mcc"][0] > 0.9
    # A second run measures nothing and writes the same card.
    assert write(data, bundle, tmp_path) == 0
    assert "measuring" not in capsys.readouterr().err
    assert (bundle / "README.md").read_text(encoding="utf-8") == text
    # What is not saved is left out of a card of saved results.
    assert write(data, bundle, tmp_path, "--saved", "--seed", "1") == 0
    unmeasured = (bundle / "README.md").read_text(encoding="utf-8")
    assert "Not measured for this card: toy." in unmeasured
    assert "Not measured for this card: counts" in unmeasured
    # Absent data leave their numbers out.
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "genomes").symlink_to(data / "genomes")
    assert write(tmp_path / "part", bundle, tmp_path, "--only", "likelihood") == 0
    shorter = (bundle / "README.md").read_text(encoding="utf-8")
    assert "Not measured for this card: the data have no folder `tasks`." in shorter
    assert "Not measured for this card: it was not asked for." in shorter
    assert "| toy |" not in shorter


def test_other_weights_and_other_data_are_measured_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(folders):
        make_bundle(folder, name=f"gf-{seed}")
    only = ("--only", "likelihood")
    for option in ("--windows=4", "--seed=1"):
        assert write(data, folders[0], tmp_path / "work", *only, option) == 0
        assert "measuring bits model human" in capsys.readouterr().err
    # Equal weights under another name are not measured again.
    assert write(data, folders[1], tmp_path / "work", *only, "--windows=4") == 0
    assert "measuring" not in capsys.readouterr().err


def test_a_folder_without_genomes_is_a_sentence(
    data: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        write(tmp_path / "absent", bundle, tmp_path)
    assert "is not a folder" in capsys.readouterr().err
    (tmp_path / "genomes").mkdir()
    assert write(tmp_path, bundle, tmp_path / "work", "--no-write") == 0
    assert "phage_host is left out: `" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"no `genomes\.tsv`"):
        read_genomes(tmp_path)


def test_related_genomes_are_on_one_side_and_classes_are_balanced(data: Path) -> None:
    genomes = read_genomes(data / "genomes")
    families = {genome.name: genome.family for genome in genomes}
    assert families["p0|r"] == families["p1|r"]
    assert len(set(families.values())) == 12
    for seed in range(5):
        splits = split_genomes(genomes, seed)
        assert splits["p0|r"] == splits["p1|r"]
        config = PhageHostConfig(regions=12, lengths=(500, 1_000), part=500, seed=seed)
        regions = draw_regions(genomes, config)
        rows = list(zip(regions.labels, regions.splits, regions.genomes, strict=True))
        for split in ("train", "val", "test"):
            sides = [label for label, part, _ in rows if part == split]
            assert sides.count(HOST) == sides.count(PHAGE) > 0
        assert all(splits[name] == split for _, split, name in rows)


def test_vectors_of_phages_are_read_from_the_cache(
    data: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = read_model(bundle)
    config = PhageHostConfig(regions=12, lengths=(500, 1_000), part=500)
    with pytest.raises(TimeoutError):
        measure(loaded, data / "genomes", config, Cache(folder=tmp_path, seconds=0))
    first = measure(loaded, data / "genomes", config, Cache(folder=tmp_path))
    monkeypatch.setattr("phage_host.embed_parts", None)
    assert measure(loaded, data / "genomes", config, Cache(folder=tmp_path)) == first
    assert set(first["lengths"]) == {"500", "1000"}
    assert first["lengths"]["1000"]["num_rows"] * 2 == first["lengths"]["500"]["num_rows"]
