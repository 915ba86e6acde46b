"""Files and answers of NCBI that are damaged or odd: errors of ours, and no endless loop."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.genomes.ncbi.assembly import read_integer
from genomeformer_cli.core.genomes.ncbi.datasets import Datasets
from genomeformer_cli.core.genomes.ncbi.taxdump import Taxonomy, build_taxonomy

NAMES = "1\t|\tA\t|\t\t|\tscientific name\t|\n"
MERGED = "9\t|\t1\t|\n"


def dump(folder: Path, nodes: str, names: str = NAMES, merged: str = MERGED) -> Path:
    archive = folder / "taxdump.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in (("nodes.dmp", nodes), ("names.dmp", names), ("merged.dmp", merged)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return archive


@pytest.mark.parametrize(
    "tables",
    [
        ("1\t|\t1\n",),
        ("x\t|\t1\t|\tspecies\t|\n",),
        (f"{2**63}\t|\t1\t|\tspecies\t|\n",),
        ("1\t|\t1\t|\tno rank\t|\n", "1\t|\tA\n"),
        ("1\t|\t1\t|\tno rank\t|\n", NAMES, f"{'9' * 30}\t|\t1\t|\n"),
        ("1\t|\t1\t|\tno rank\t|\n", NAMES, "9\n"),
    ],
    ids=["short-node", "word", "65-bits", "short-name", "100-bits", "short-merged"],
)
def test_a_damaged_row_of_the_taxonomy_is_refused(tmp_path: Path, tables: tuple[str, ...]) -> None:
    with pytest.raises(CorruptError, match="taxonomy"):
        build_taxonomy(dump(tmp_path, *tables), tmp_path / "x.sqlite")
    assert not list(tmp_path.glob("x.sqlite*"))


def test_a_damaged_packing_of_the_taxonomy_is_refused(tmp_path: Path) -> None:
    archive = dump(tmp_path, "1\t|\t1\t|\tno rank\t|\n" * 1000)
    content = bytearray(archive.read_bytes())
    for place in range(20, len(content) - 8, 7):
        archive.write_bytes(content[:place] + bytes(3) + content[place + 3 :])
        with pytest.raises(CorruptError, match="taxonomy"):
            build_taxonomy(archive, tmp_path / "x.sqlite")


def test_a_taxon_that_is_its_own_ancestor_is_refused(tmp_path: Path) -> None:
    nodes = "1\t|\t2\t|\tspecies\t|\n2\t|\t1\t|\tgenus\t|\n"
    build_taxonomy(dump(tmp_path, nodes), tmp_path / "x.sqlite")
    taxonomy = Taxonomy(tmp_path / "x.sqlite")
    try:
        assert taxonomy.descendants(1) == {1, 2}
        with pytest.raises(CorruptError, match="its own ancestor"):
            taxonomy.lineages([1])
    finally:
        taxonomy.close()


@pytest.mark.parametrize("value", ["²", "x", "", None, [], 2**63, "9" * 5000, "1.5"])
def test_what_is_not_an_integer_of_64_bits_is_none(value: object) -> None:
    assert read_integer(value) is None
    assert read_integer("-7") == -7


@pytest.mark.parametrize(
    "answer",
    [
        {"reports": 5},
        {"reports": ["x"]},
        {"reports": [{"taxonomy": "x"}]},
        {"reports": [{"taxonomy": {"classification": ["x"]}}]},
        {"reports": [{"taxonomy": {"current_scientific_name": "x"}}]},
        {"reports": [{"taxonomy": {"secondary_tax_ids": 7}}]},
        {"sci_name_and_ids": ["x"]},
        {"assembly_links": {"a": 1}},
        {"next_page_token": [1]},
    ],
    ids=lambda answer: json.dumps(answer)[:50],
)
def test_an_answer_of_another_form_is_unreadable(answer: dict[str, Any]) -> None:
    """The transport asks again for what raises ValueError while it is parsed."""
    refused = []

    def get(url: str, parse: Callable[[bytes], Any], **_: object) -> Any:
        try:
            return parse(json.dumps(answer).encode())
        except ValueError:
            refused.append(url)
            return {}

    source = Datasets(cast("Any", SimpleNamespace(get=get)), "https://a.example")
    source.lineages([5])
    source.directory("GCF_000001405.1")
    assert refused
