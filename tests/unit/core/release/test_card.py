"""The card says what the run says, and hides no defeat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genomeformer_cli import __version__
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.genomes.sample import sample_genomes
from genomeformer_cli.core.model.config import ModelConfig
from genomeformer_cli.core.presets.pretrain import tiny
from genomeformer_cli.core.release.card import write_card
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.summary import RunSummary
from tests.corpora import genome

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


def card(
    summary: RunSummary = SUMMARY,
    genomes: list[Genome] | None = None,
    training: TrainingConfig | None = None,
) -> str:
    config = tiny()
    configs: tuple[ModelConfig, MaskingConfig, TrainingConfig] = (
        config.model,
        config.masking,
        training or config.training,
    )
    return write_card(
        "gf-test", configs, summary=summary, genomes=genomes or sample_genomes(), tokenizer="char"
    )


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


def test_a_defeat_is_said() -> None:
    beaten = replace(SUMMARY, counts=replace(SUMMARY.counts, bits_per_base=1.85))
    assert "0.0265 bits per base worse" in card(beaten)
    assert "A table of counts predicts held-out bases better" in card(beaten)
    assert "predicts held-out bases better" not in card()


def test_every_genome_is_named_with_its_licence() -> None:
    text = card()
    for sample in sample_genomes():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {sample.accession} ")]
        assert f"{sample.num_bases:,}" in row
        assert str(sample.organism) in row
        assert str(sample.licence) in row


def test_what_is_not_known_of_a_genome_is_said_so() -> None:
    (row,) = [
        line for line in card(genomes=[genome("mine", 10)]).splitlines() if "| mine |" in line
    ]
    assert row.count("not stated") == 2


@pytest.mark.parametrize(
    ("both", "words"), [(True, "either strand at random"), (False, "the forward strand")]
)
def test_the_strands_are_told(both: bool, words: str) -> None:
    assert words in card(training=replace(tiny().training, reverse_complement=both))


def test_the_head_is_what_the_hub_reads() -> None:
    _, head, _ = card().split("---\n", 2)
    values = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    assert values["license"] == "apache-2.0"
    assert values["library_name"] == "genomeformer"
    assert values["model_name"] == "gf-test"
    assert f"- {tiny().model.attention.name}" in head.splitlines()
