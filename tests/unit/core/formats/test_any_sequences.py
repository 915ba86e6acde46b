"""One sequence in every format of sequences is read as the same record."""

from __future__ import annotations

import builtins
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import AlphabetError, FormatError, MissingExtraError
from genomeformer_cli.core.evaluation.held_out_sequences import file_sequences
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.formats.named_records import named_records
from genomeformer_cli.core.sequence import decode_bases
from tests.annotation_files import PACKERS
from tests.annotations import genbank

arrow: Any = import_module("pyarrow")
parquet: Any = import_module("pyarrow.parquet")

DNA = "ACGTNACGGT"
FORMS = {
    "fasta": f">X.1 words\n{DNA}\n".encode(),
    "fastq": f"@X.1\n{DNA}\n+\n{'!' * len(DNA)}\n".encode(),
    "genbank": genbank(DNA, "gene 1..3 /locus_tag=A").encode(),
    "tsv": f"id\tsequence\nX.1\t{DNA}\n".encode(),
    "csv": f"Sequence,id\n{DNA},X.1\n".encode(),
}


def read(path: Path) -> list[tuple[str, str]]:
    return [(query.id, decode_bases(query.codes)) for query in read_any_sequences(path)]


def write_parquet(path: Path, **columns: list[Any]) -> Path:
    parquet.write_table(arrow.table(columns), path, row_group_size=2)
    return path


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_text_format_is_recognised_by_its_content(
    form: str, packing: str, tmp_path: Path
) -> None:
    path = tmp_path / "anything"
    path.write_bytes(PACKERS[packing](FORMS[form]))
    assert read(path) == [("X.1", DNA)]
    assert [record.codes.size for record in named_records(path, {"X.1"})] == [len(DNA)]
    assert [text.record for text in file_sequences([path], GroupBy.RECORD)] == ["X.1"]


def test_rows_of_parquet_are_records(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "x", Sequence=["acgt", None, "", "NNA", "nan"], id=["a", "b", "c", "d", "e"]
    )
    assert read(path) == [("a", "ACGT"), ("b", ""), ("c", ""), ("d", "NNA"), ("e", "")]
    path = write_parquet(tmp_path / "y", sequence=["ACGT", "GG", "T"], label=[1, 2, 3])
    assert read(path) == [("1", "ACGT"), ("2", "GG"), ("3", "T")]


def test_invalid_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no column `sequence`") as failure:
        read(write_parquet(tmp_path / "a", dna=["ACGT"]))
    assert failure.value.hint == "its columns are `dna`"
    with pytest.raises(FormatError, match="holds int64, not text"):
        read(write_parquet(tmp_path / "b", sequence=[1]))
    with pytest.raises(FormatError, match="2 columns `sequence`"):
        read(write_parquet(tmp_path / "c", Sequence=["A"], SEQUENCE=["A"]))
    with pytest.raises(AlphabetError, match="row 2: `J` at position 1"):
        read(write_parquet(tmp_path / "d", sequence=["ACGT", "JJ"]))
    (tmp_path / "e").write_bytes(b"PAR1 and no more")
    with pytest.raises(FormatError, match="cannot be read as parquet"):
        read(tmp_path / "e")


def test_without_pyarrow_a_parquet_table_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "x", sequence=["ACGT"])
    module = import_module("genomeformer_cli.core.formats.parquet")

    def refuse(name: str) -> Any:
        raise builtins.ImportError(name)

    monkeypatch.setattr(module, "importlib", type("Absent", (), {"import_module": refuse}))
    with pytest.raises(MissingExtraError, match="needs `pyarrow`") as failure:
        read(path)
    assert failure.value.hint is not None
    assert "genomeformer[parquet]" in failure.value.hint
