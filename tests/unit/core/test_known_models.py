"""Facts about models of other authors: complete, of known sources, and true of the readers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.known_models import (
    family_models,
    find_known_model,
    known_addresses,
    known_families,
    known_models,
)
from genomeformer_cli.core.model_io.hub_client import read_address
from genomeformer_cli.core.models.registry import own_families

DATA = Path(__file__).parents[2] / "data" / "architectures"
COMMIT = re.compile(r"\b[0-9a-f]{7}\b")


def test_every_family_that_is_read_is_listed_with_its_recommendation() -> None:
    read = {
        family.name: (family.layers, family.pool) for family in own_families() if family.is_read
    }
    assert {name: (one.layers, one.pool) for name, one in known_families().items()} == read


def test_every_model_has_an_address_a_family_and_sources() -> None:
    addresses = [model.address for model in known_models()]
    assert len(addresses) == len(set(addresses))
    assert len({model.name for model in known_models()}) == len(addresses)
    for model in known_models():
        assert str(read_address(model.address)) == f"{model.address}@main"
        assert (model.family is None) == (model.refused is not None)
        assert model.sources
        assert set(model.sources) <= {"card", "config", "paper", "code", "file"}
        assert model.weights in (None, "safetensors", "pickle")
        assert model.checksum is None or re.fullmatch(r"[0-9a-f]{16}", model.checksum)
        numbers = [model.parameters, model.context, model.bases]
        assert all(number is None or number > 0 for number in numbers)


def test_the_code_that_was_run_is_recorded_beside_its_numbers() -> None:
    recorded = "".join(path.read_text() for path in DATA.rglob("README.md"))
    for name, family in known_families().items():
        assert family.verified, name
        for code in family.verified:
            commits = COMMIT.findall(code)
            assert all(commit in recorded for commit in commits), code
            if not commits:
                assert "transformers 5" in code or "-hf" in code, code


def test_names_are_found_in_any_form() -> None:
    name = "DNABERT-2-117M"
    forms = (name, name.lower(), f"zhihan1996/{name}", f"hf://zhihan1996/{name}@main")
    assert len({find_known_model(form).address for form in forms}) == 1
    assert find_known_model("gpn-msa-sapiens").refused == "reads alignments of genomes"
    assert len(family_models("hyenadna")) == 7
    assert family_models("no") == ()
    with pytest.raises(UsageError, match="no known model `DNABERT2-117M`") as failure:
        find_known_model("DNABERT2-117M")
    assert f"`{name}`" in str(failure.value.hint)


def test_models_that_are_refused_are_not_proposed() -> None:
    assert "hf://songlab/gpn-brassicales" in known_addresses()
    assert not {"hf://songlab/gpn-msa-sapiens"} & set(known_addresses())
