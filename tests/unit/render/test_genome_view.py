"""The page of a genome, opened by a script engine and, where one is named, by a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.formats.tracks.elements import Chromosome, Hit
from genomeformer_cli.core.workflows.genome_view import Gene, GenomeView, ScoreLane
from genomeformer_cli.render.genome_view import draw_genome
from tests.browser_page import BrowserPage, open_in_browser
from tests.genome_page import OpenPage

LENGTHS = {"one": 700, "two": 235}


def sample_view() -> GenomeView:
    """Return a view of two records, whose names contain markup."""
    rng = np.random.default_rng(0)
    values = {name: rng.random(length).astype("f4") for name, length in LENGTHS.items()}
    values["one"][100:130] = np.nan
    return GenomeView(
        title="a <b>title</b>",
        chromosomes=tuple(Chromosome(name=name, length=size) for name, size in LENGTHS.items()),
        bin_width=1,
        lanes=(ScoreLane(label="promoter", color="#4477aa", values=values),),
        hits=(Hit(chrom="one", start=320, end=380, strand="+", label="promoter", score=0.75),),
        labels=("promoter", "other"),
        # Not in the order of their places; two names would cover each other.
        genes=(
            Gene(chrom="one", start=600, end=650, strand="+", name="last"),
            Gene(chrom="one", start=100, end=400, strand="-", name="rep</script>A"),
            Gene(chrom="one", start=104, end=120, strand="+", name="covered"),
        ),
    )


@contextmanager
def _open(path: Path, kind: str) -> Iterator[OpenPage | BrowserPage]:
    if kind == "engine":
        yield OpenPage(path.read_text())
        return
    with open_in_browser(path, path.parent / "profile") as page:
        yield page
    assert page.problems == []
    assert page.requests == [path.resolve().as_uri()]


def _first(page: OpenPage | BrowserPage) -> int:
    """Return the first visible position; a browser rounds the place of the pointer."""
    return int(page.text("range").split()[1])


@pytest.mark.parametrize("kind", ["engine", pytest.param("browser", marks=pytest.mark.browser)])
def test_the_page_zooms_and_shows_what_is_under_the_pointer(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "scan.html"
    draw_genome(sample_view(), path)
    with _open(path, kind) as page:
        assert page.text("title") == "a <b>title</b>"
        assert page.text("range") == "one: 1 to 700"
        assert (page.number_of("bar"), page.number_of("gene")) == (4, 2)
        # A gap of the scores divides their line.
        assert page.number_of("score") == 2
        page.point(650, 50)
        shown = page.text("readout")
        assert shown.startswith(("position 350", "position 351"))
        assert "hit promoter 321-380 (+) 0.75" in shown
        assert "gene rep</script>A 101-400 (-)" in shown
        page.click("closer")
        assert page.text("range") == "one: 176 to 525"
        page.click("whole")
        page.wheel(650, -1)
        if isinstance(page, BrowserPage):
            page.wait(lambda: page.text("range") != "one: 1 to 700")
        assert abs(_first(page) - 70) <= 1
        if isinstance(page, BrowserPage):
            # 100 of the 1,080 units of the axis are 52 of 560 bases.
            page.drag(600, 700)
            page.wait(lambda: abs(_first(page) - 19) <= 1)
            page.picture(tmp_path / "page.png")
            assert (tmp_path / "page.png").stat().st_size > 5_000
        page.choose("record", "1")
        assert page.text("range") == "two: 1 to 235"
        assert page.number_of("bar") == 0


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_a_picture_without_annotation_has_no_row_of_genes(tmp_path: Path, suffix: str) -> None:
    def rows_of_genes(view: GenomeView, path: Path) -> int:
        draw_genome(view, path)
        if suffix == ".svg":
            return path.read_text().count("<!-- genes -->")
        return OpenPage(path.read_text()).written().count("genes")

    view = sample_view()
    assert rows_of_genes(view, tmp_path / f"with{suffix}") > 0
    assert rows_of_genes(replace(view, genes=()), tmp_path / f"without{suffix}") == 0
