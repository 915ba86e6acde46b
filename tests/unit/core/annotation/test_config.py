"""Rules of the classes of windows."""

from __future__ import annotations

from typing import Any

import pytest

from genomeformer_cli.core.annotation.config import (
    Label,
    WindowRules,
    flanks_from_text,
    labels_from_text,
)
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.feature import Kind, kind_of


def test_classes_come_in_the_order_of_tables() -> None:
    assert labels_from_text("promoter, CODING") == (Label.CODING, Label.PROMOTER)
    with pytest.raises(UsageError, match="invalid class of windows `gene`"):
        labels_from_text("coding,gene")


@pytest.mark.parametrize("text", ["100", "1,2,3", "a,b", "-1,5", "", "1.5,2"])
def test_flanks_are_two_numbers(text: str) -> None:
    assert flanks_from_text("60, 20", "--promoter") == (60, 20)
    with pytest.raises(UsageError, match="--promoter"):
        flanks_from_text(text, "--promoter")


@pytest.mark.parametrize(
    "wrong",
    [{"labels": ()}, {"length": 0}, {"promoter": (0, 0)}, {"margin": -1}, {"max_n": 1.1}],
)
def test_invalid_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        WindowRules(**wrong)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gene", Kind.GENE),
        ("pseudogene", Kind.GENE),
        ("ncRNA_gene", Kind.GENE),
        ("CDS", Kind.CDS),
        ("rRNA", Kind.RRNA),
        ("tRNA", Kind.TRNA),
        ("mRNA", Kind.OTHER),
        ("tmRNA", Kind.OTHER),
        ("five_prime_UTR", Kind.OTHER),
        ("pseudogenic_transcript", Kind.OTHER),
        ("V_gene_segment", Kind.OTHER),
        ("exon", Kind.OTHER),
        ("region", None),
        ("source", None),
        ("repeat_region", Kind.PLACE),
        ("mobile_genetic_element", Kind.PLACE),
    ],
)
def test_categories_of_feature_types(name: str, kind: Kind | None) -> None:
    assert kind_of(name) is kind
