"""The card says what the run says, hides no defeat, and is what the Hub reads."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from genomeformer_cli import __version__
from genomeformer_cli.core.data.mixture import SamplingConfig
from genomeformer_cli.core.errors import InputError, UsageError
from genomeformer_cli.core.genomes.fasta_headers import DescribedRecord
from genomeformer_cli.core.genomes.sample import sample_genomes
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.release.card import CardFacts, write_card
from genomeformer_cli.core.release.card_data import CardGenome
from genomeformer_cli.core.release.citation import licence_text, write_citation
from genomeformer_cli.core.release.eval_report import Evidence, Picture, read_evidence
from genomeformer_cli.core.release.organisms import organisms_of, parse_organism
from genomeformer_cli.core.release.storage import Storage, StorageCost
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.presets import tiny
from genomeformer_cli.core.training.summary import RunSummary
from tests.corpora import genome
from tests.files import png_picture

ROOT = Path(__file__).parents[4]
SUMMARY = RunSummary(
    model=Score(bits_per_base=1.8765, accuracy=0.4321, num_bases=12345),
    counts=Score(bits_per_base=1.9, accuracy=0.375, num_bases=12345),
    counts_order=5,
    random_twin=Score(bits_per_base=2.1, accuracy=0.25, num_bases=12345),
    num_parameters=987654,
    num_steps=400,
    num_bases_seen=3276800,
    num_train_bases=522068,
    split_rule="the last 10% of every record",
    training_seconds=61.0,
    environment={"torch": "2.13.0", "device": "cpu"},
    corpus="demo",
)
TINY = tiny()
FACTS = CardFacts(
    name="gf-test",
    licence="apache-2.0",
    configs=(TINY.model, TINY.masking, TINY.training),
    summary=SUMMARY,
    weights="the weights after step 400",
    genomes=tuple(CardGenome(genome=one, role="both") for one in sample_genomes()),
    loss=Picture(name="loss.png", shows="the loss", content=png_picture()),
)


def card(**changed: Any) -> str:
    return write_card(replace(FACTS, **changed))


def interval(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1 if low is None else low, "high": high or value + 0.1}


def prediction(gain: dict[str, Any] | None) -> dict[str, Any]:
    row = {"kind": "all", "part": "all", "num_bases": 4880, "accuracy": interval(0.4)}
    return {
        "question": "one base in 64 hidden",
        "rows": [
            {**row, "who": "model", "detail": None, "bits": interval(1.9), "gain": gain},
            {**row, "who": "counts", "detail": 4, "bits": interval(1.95), "gain": None},
            {**row, "who": "random", "detail": 0, "bits": interval(2.05), "gain": interval(-0.1)},
        ],
    }


def task(low: float) -> dict[str, Any]:
    def row(who: str, mcc: float, gain: dict[str, Any] | None = None) -> dict[str, Any]:
        measures = {"mcc": interval(mcc), "auroc": interval(0.8), "accuracy": interval(0.7)}
        near = {"purity": 0.61, "precision": 0.5, "chance": 0.5, "silhouette": 0.0, "p_value": 0.01}
        return {
            "who": who,
            "seed": 0,
            "logistic": measures,
            "neighbours": measures,
            "neighbourhood": near,
            "gain": gain,
        }

    rows = [
        row("model", 0.654, interval(0.1, low, 0.2)),
        row("3-mers", 0.3),
        row("4-mers", 0.543),
        row("random", 0.2, interval(-0.3)),
    ]
    return {"name": "promoters", "classes": ["+", "-"], "rows": rows, "points": [[0, 0, 1]]}


def results(**changed: Any) -> dict[str, Any]:
    known = {
        "model": "/home/somebody/runs/mine",
        "folder": "/home/somebody/runs/mine",
        "counted_on": "demo",
        "weights_digest": "abc",
        "predictions": [prediction(interval(0.05, 0.01, 0.09))],
        "tasks": [task(0.05)],
    }
    return {**known, **changed}


def written(folder: Path, **changed: Any) -> Path:
    folder.mkdir()
    (folder / "eval_results.json").write_text(json.dumps(results(**changed)), encoding="utf-8")
    picture = base64.b64encode(png_picture()).decode()
    page = f'<html><img alt="bits by place" src="data:image/png;base64,{picture}"><img src="x.png">'
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder


def evidence(**changed: Any) -> tuple[Evidence, ...]:
    return (Evidence(results=results(**changed), pictures=()),)


def test_every_number_of_the_run_is_there() -> None:
    text = card()
    for number in ("1.8765", "43.2%", "1.9000", "37.5%", "2.1000", "25.0%", "12,345", "987,654"):
        assert number in text
    assert "3,276,800 bases seen" in text
    assert "522,068" in text
    assert "0.0235 bits per base better" in text
    assert f"genomeformer {__version__}" in text
    assert "torch 2.13.0" in text
    assert SUMMARY.split_rule in text
    assert "![the loss](images/loss.png)" in text


@pytest.mark.parametrize(
    "heading",
    ["Use", "Held-out results", "Evaluation", "Data", "Procedure", "Limits", "Biosafety"],
)
def test_nothing_that_a_reader_needs_is_left_out(heading: str) -> None:
    assert f"\n## {heading}\n" in card()


def test_a_loss_to_the_baseline_is_reported() -> None:
    beaten = replace(SUMMARY, counts=replace(SUMMARY.counts, bits_per_base=1.85))
    assert "0.0265 bits per base worse" in card(summary=beaten)
    assert "A table of counts predicts held-out bases better" in card(summary=beaten)
    assert "predicts held-out bases better" not in card()


def test_every_genome_is_named_with_its_licence_and_its_use() -> None:
    text = card()
    for sample in sample_genomes():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {sample.accession} ")]
        assert f"{sample.num_bases:,}" in row
        assert str(sample.organism) in row
        assert str(sample.licence) in row
        assert "| both |" in row


def test_unknown_facts_of_a_genome_are_marked() -> None:
    mine = (CardGenome(genome=genome("mine", 10), role="held out", records=("a", "b")),)
    (row,) = [line for line in card(genomes=mine).splitlines() if line.startswith("| mine ")]
    assert row.count("not stated") == 2
    assert "(2 records)" in row
    assert "| held out |" in row


def test_a_long_list_of_genomes_is_folded_and_a_very_long_one_cut() -> None:
    def genomes(number: int) -> tuple[CardGenome, ...]:
        return tuple(
            CardGenome(genome=genome(f"g{n}", 10), role="trained on") for n in range(number)
        )

    assert "<details>" not in card(genomes=genomes(20))
    text = card(genomes=genomes(1_040))
    assert "1,040 genomes, 1,040 of them trained on" in text
    assert "<details>\n<summary>1,040 genomes</summary>\n\n| genome |" in text
    assert "40 more are in `genomes.lock.jsonl`.\n\n</details>" in text


def test_organisms_and_accessions_of_a_file_are_named_held_out_ones_apart() -> None:
    named = {
        "ecoli|NC_000913.3": "Escherichia coli K-12 MG1655",
        "vch|AE003852.1": "Vibrio cholerae | N16961",
        "vch|AE003853.1": "Vibrio cholerae | N16961",
        **{f"draft|NZ_{n:02}": "Draft, many pieces" for n in range(30)},
        "sent|CP006053.1": "Salmonella enterica",
    }
    splits = {name: {"validation" if name.startswith("sent") else "train"} for name in named}
    described = {
        name: DescribedRecord(id=name, description=text, num_bases=1_000)
        for name, text in named.items()
    }
    organisms = organisms_of(splits, described)
    file = CardGenome(
        genome=genome("many", 34_000), role="both", records=tuple(named), organisms=organisms
    )
    text = card(genomes=(file,))
    held, trained = text.split("### Held out")[1].split("### Trained on, ")
    assert "\n1 set, 1 record.\n" in held
    assert "| Salmonella enterica | CP006053.1 | 1,000 |" in held
    assert "3 sets, 33 records" in trained
    assert "| Vibrio cholerae \\| N16961 | AE003852.1, AE003853.1 | 2,000 |" in trained
    assert "| Draft | NZ_00 to NZ_29 (30 records) | 30,000 |" in trained
    assert "| many (34 records) | below |" in text
    assert "<details>" not in text
    known_by_id_alone = organisms_of(splits, {})
    assert [one.accessions for one in known_by_id_alone] == [one.accessions for one in organisms]
    assert {one.num_bases for one in known_by_id_alone} == {None}


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("Escherichia coli str. K-12, complete genome", "Escherichia coli str. K-12"),
        ("Chlamydia trachomatis D/UW-3/CX", "Chlamydia trachomatis D/UW-3/CX"),
        ("Enterobacteria phage lambda -", "Enterobacteria phage lambda"),
        ("length=4641652 depth=1.00x circular=true", ""),
        ("from /data/runs/mine.fa", ""),
        ("", ""),
    ],
)
def test_a_name_is_distinguished_from_what_a_program_wrote_into_a_header(
    description: str, name: str
) -> None:
    assert parse_organism(description) == name
    record = DescribedRecord(id="contig_1", description=description, num_bases=4)
    found = organisms_of({"contig_1": {"train"}}, {"contig_1": record})
    assert [one.name for one in found] == ([name] if name else [])


@pytest.mark.parametrize(
    ("both", "words"), [(True, "either strand at random"), (False, "the forward strand")]
)
def test_the_strands_are_told(both: bool, words: str) -> None:
    training = replace(TINY.training, reverse_complement=both)
    assert words in card(configs=(TINY.model, TINY.masking, training))


def test_the_mixture_and_the_weight_of_repeats_are_stated() -> None:
    sampling = SamplingConfig(mix={"human": 3, "rest": 1}, repeat_weight=0.1)
    text = card(sampling=sampling, summary=replace(SUMMARY, epochs={"human": 2.5, "rest": 0.125}))
    assert (
        "- mixture: `human` 75.0% of the windows (2.50 epochs), "
        "`rest` 25.0% of the windows (0.12 epochs)\n- steps:" in text
    )
    assert "with probability 0.1\n- mixture" in text
    assert "mixture" not in card()


def test_a_teacher_is_stated() -> None:
    text = card(teacher=TeacherConfig(model="large", logits=0.25, features=0.5))
    assert "teacher: `large`; the loss has 0.75 of the cross-entropy, 0.25 of the" in text
    assert "0.5 of the cosine distance" in text
    assert "teacher" not in card()


def test_the_head_is_what_the_hub_reads() -> None:
    data: Any = ModelCard(card()).data
    assert data.license == "apache-2.0"
    assert data.library_name == "genomeformer"
    assert data.model_name == "gf-test"
    assert TINY.model.attention.name in data.tags
    measured = {one.metric_type: one.metric_value for one in data.eval_results}
    assert measured == {"bits_per_base": 1.8765, "accuracy": 0.4321}
    assert data.eval_results[0].dataset_name == SUMMARY.split_rule


def test_a_strange_name_does_not_break_the_head() -> None:
    odd = replace(SUMMARY, split_rule='genomes: "a", #b: [c]', corpus="x: y")
    data: Any = ModelCard(card(summary=odd)).data
    assert data.eval_results[0].dataset_name == odd.split_rule


def test_the_cost_of_storage_is_reported() -> None:
    cost = StorageCost(
        exact=SUMMARY.model,
        stored=replace(SUMMARY.model, bits_per_base=1.8771),
        mean_change=0.00123,
    )
    text = card(storage=Storage(quantize="int8"), cost=cost)
    for words in ("int8", "1.87650", "1.87710", "0.00123", "| this model | 1.8771 |"):
        assert words in text


def test_an_evaluation_is_quoted_with_its_baselines() -> None:
    text = card(evidence=evidence())
    for words in (
        *("counts of 4 neighbours", "random weights, seed 0", "1.9000 [1.8000, 2.0000]"),
        *("promoters (2 classes)", "0.654", "4-mers", "0.543", "random weights", "0.610"),
        "ahead of the best k-mers beyond chance on every task",
        "ahead of the table of counts beyond chance on every part",
    ):
        assert words in text
    assert "3-mers" not in text


def test_tasks_without_an_advantage_are_reported() -> None:
    text = card(evidence=evidence(tasks=[task(-0.01)]))
    assert "Not ahead beyond chance on: promoters." in text
    behind = prediction(interval(-0.05, -0.09, -0.01))
    assert "The table of counts is ahead of the model beyond chance on: all." in card(
        evidence=evidence(predictions=[behind])
    )
    even = prediction(interval(0.0, -0.01, 0.01))
    assert "Neither is ahead beyond chance on: all." in card(evidence=evidence(predictions=[even]))
    without = prediction(None)
    assert "No table of counts" in card(evidence=evidence(predictions=[without]))


def test_a_missing_evaluation_is_reported() -> None:
    assert "No evaluation beyond the held-out bases above was made" in card()


def test_an_evaluation_is_read_without_paths_and_with_its_pictures(tmp_path: Path) -> None:
    (one,) = read_evidence([written(tmp_path / "ev")], ["other", "abc"])
    assert "somebody" not in json.dumps(one.results)
    assert "points" not in one.results["tasks"][0]
    assert one.before_storing
    (picture,) = one.pictures
    assert (picture.name, picture.shows) == ("evaluation-1-1.png", "bits by place")
    assert picture.content == png_picture()
    assert "![bits by place](images/evaluation-1-1.png)" in card(evidence=(one,))


def test_an_evaluation_of_other_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other weights"):
        read_evidence([written(tmp_path / "ev")], ["def"])
    with pytest.raises(InputError, match="other weights"):
        read_evidence([written(tmp_path / "old", weights_digest="")], ["def"])


@pytest.mark.parametrize("text", ["", "[]", '{"model": "x"}', '{"model": 1, "tasks": 1}'])
def test_invalid_evaluations_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "eval_results.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not a valid evaluation"):
        read_evidence([tmp_path], ["abc"])


def values_within(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path of every value of a JSON document."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from values_within(value, (*path, key))


@settings(max_examples=200)
@given(
    path=st.sampled_from(list(values_within(results()))),
    value=st.sampled_from([None, 3, "x", [], {}, [1], ["a"], {"a": 1}]),
)
def test_a_wrong_value_in_an_evaluation_is_refused_or_written(
    path: tuple[Any, ...], value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    document = results()
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "eval_results.json").write_text(json.dumps(document), encoding="utf-8")
    try:
        reports = read_evidence([folder], ["abc"])
    except InputError:
        return
    assert "## Evaluation" in card(evidence=reports)


def test_notes_are_at_the_end() -> None:
    assert card(notes="Ours.\n").endswith("## Notes of the authors\n\nOurs.\n")
    assert "Notes" not in card()


def test_the_licence_in_the_package_is_the_projects() -> None:
    assert licence_text("apache-2.0", None) == (ROOT / "LICENSE").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match=r"cc-by-4\.0"):
        licence_text("cc-by-4.0", None)


def test_authors_are_cited_as_they_are_called() -> None:
    text = write_citation("gf-test", "apache-2.0", ['Jo "J" Müller'])
    assert '- name: "Jo \\"J\\" Müller"' in text
    assert 'license: "Apache-2.0"' in text
    assert "The authors of gf-test" in write_citation("gf-test", "apache-2.0", [])
