"""`evaluate --codon-effects`: substitutions of annotated genes, ranked by any model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.annotations import PHIX, PHIX_FASTA
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")

SMALL = ("--set", "codons.per_effect=12", "--set", "codons.window=32", "--workers", "1")


def test_effects_of_a_phage(run_cli: RunCommand, tmp_path: Path) -> None:
    command = ("evaluate", RELEASED, "--codon-effects", *SMALL, "-o", str(tmp_path / "e"))
    done = run_cli(*command, "--gff", str(PHIX))
    assert done.exit_code == 0, done.err
    assert "12 synonymous, 12 missense, 12 stop gained substitutions of" in done.out
    assert "stop gained &gt; missense" in (tmp_path / "e" / "report.html").read_text(
        encoding="utf-8"
    )
    results = json.loads((tmp_path / "e" / "eval_results.json").read_text(encoding="utf-8"))
    assert results["predictions"] == results["tasks"] == []
    effects = results["codon_effects"]
    count = effects["count"]
    assert count["read"] == count["used"] + sum(count["left_out"].values()) == 11
    assert len(effects["rows"]) == 3 * 5
    assert effects["genetic_codes"] == [11]
    for row in effects["rows"]:
        assert 0 <= row["auroc"]["low"] <= row["auroc"]["value"] <= row["auroc"]["high"] <= 1
    usage = effects["rows"][2]
    assert (usage["predictor"], usage["auroc"]["value"] > 0.9) == ("codon usage", True)
    again = run_cli(*command, "--gff", str(PHIX), "--json")
    assert json.loads(again.out) == results


def test_a_genome_and_its_annotation(run_cli: RunCommand, tmp_path: Path) -> None:
    files = ("--genome", str(PHIX_FASTA), "--gff", str(PHIX))
    command = ("evaluate", RELEASED, "--codon-effects", *SMALL, "-o", str(tmp_path / "e"))
    one, other = run_cli(*command, *files, "--json"), run_cli(*command, *files[2:], "--json")
    rows = [json.loads(done.out)["codon_effects"]["rows"] for done in (one, other)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--codon-effects"], 2, "`--codon-effects` needs a genome"),
        (["--codon-effects", "--genome", str(PHIX_FASTA)], 2, "has no annotation"),
        (["--codon-effects", "--genome", "NC_001422.1"], 2, "has no annotation in the cache"),
        (["--genome", str(PHIX_FASTA)], 2, "`--genome` alone is not evaluated"),
        (["--set", "codons.genetic_code=7"], 2, "unknown genetic code 7"),
        (["--set", "codons.per_effect=1"], 2, "`per_effect` cannot be 1"),
        (
            ["--codon-effects", "--gff", str(PHIX), "--set", "codons.genetic_code=6"],
            0,
            "11 coding sequences read",
        ),
    ],
)
def test_what_cannot_be_ranked(
    run_cli: RunCommand, arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    done = run_cli("evaluate", RELEASED, *SMALL[2:], *arguments, "-o", str(tmp_path / "e"))
    if not code:
        assert words in done.err
        return
    assert_failure(done, words, exit_code=code)
