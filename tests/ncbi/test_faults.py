"""Whatever goes wrong within the budget of tries, the cache ends up byte for byte the same."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genomeformer_cli.core.store.layout import Store
from tests.mini_ncbi.client import fasta_bytes, fetch_from, leftovers, truth
from tests.mini_ncbi.faults import FILE_FAULTS, MD5_FAULTS, PAGE_FAULTS, Fault
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import make_world

WORLD = make_world(smallest=20_000, largest=60_000)
COLI = [
    a.accession
    for a in WORLD.assemblies
    if a.taxid in WORLD.children(562)
    and a.accession.startswith("GCF")
    and a.status == "current"
    and not a.atypical
]
STEMS = [a.stem for a in WORLD.assemblies if a.accession in COLI]
LISTING = "genome/taxon/562/dataset_report"

quick = settings(
    deadline=None,
    max_examples=12,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
file_scripts = st.dictionaries(
    st.sampled_from(STEMS), st.lists(st.sampled_from(FILE_FAULTS), max_size=5), max_size=4
)
md5_scripts = st.dictionaries(
    st.sampled_from([stem for stem in STEMS if "nosums" not in stem]),
    st.lists(st.sampled_from(MD5_FAULTS), max_size=3),
    max_size=3,
)
flips = st.dictionaries(st.sampled_from(STEMS), st.integers(1, 2), max_size=2)
pages = st.lists(st.sampled_from(PAGE_FAULTS), max_size=4)
odd_pages = st.permutations(
    [Fault.EMPTY_PAGE, Fault.REPEATED, Fault.NO_TOKEN, Fault.OK, Fault.OK]
).map(lambda row: list(row[:3]))


def check_script(
    files: dict[str, list[Fault]],
    md5s: dict[str, list[Fault]],
    flips: dict[str, int],
    listing: list[Fault],
) -> None:
    with tempfile.TemporaryDirectory() as folder, MiniNcbi(world=WORLD, stall=1.0) as ncbi:
        for stem, faults in files.items():
            ncbi.scripts.add(f"{stem}_genomic.fna.gz", faults)
        for stem, number in flips.items():
            ncbi.scripts.add(f"{stem}_genomic.fna.gz", [Fault.FLIPPED] * number)
        for stem, faults in md5s.items():
            ncbi.scripts.add(f"{stem}/md5checksums.txt", faults)
        ncbi.scripts.add(LISTING, listing)
        store = Store(Path(folder))
        result = fetch_from(ncbi, store, taxa=("562",), timeout=0.25)
        assert not result.failures
        assert fasta_bytes(store) == truth(ncbi, COLI)
        assert leftovers(store.root) == []
        ncbi.log.clear()
        fetch_from(ncbi, store, taxa=("562",), timeout=0.25)
        assert not ncbi.bodies()


scripts = given(
    files=file_scripts, md5s=md5_scripts, flips=flips, listing=st.one_of(pages, odd_pages)
)


@quick
@scripts
def test_any_script_within_the_budget_gives_the_same_tree(
    files: dict[str, list[Fault]],
    md5s: dict[str, list[Fault]],
    flips: dict[str, int],
    listing: list[Fault],
) -> None:
    check_script(files, md5s, flips, listing)


@pytest.mark.slow
@settings(quick, max_examples=300, derandomize=False)
@scripts
def test_any_of_many_scripts_gives_the_same_tree(
    files: dict[str, list[Fault]],
    md5s: dict[str, list[Fault]],
    flips: dict[str, int],
    listing: list[Fault],
) -> None:
    check_script(files, md5s, flips, listing)


@settings(quick, max_examples=5)
@given(
    st.dictionaries(
        st.sampled_from(STEMS),
        st.lists(st.sampled_from([*FILE_FAULTS, *Fault]), min_size=1, max_size=30),
        min_size=1,
        max_size=3,
    )
)
def test_beyond_the_budget_nothing_wrong_gets_a_name(scripts: dict[str, list[Fault]]) -> None:
    with tempfile.TemporaryDirectory() as folder, MiniNcbi(world=WORLD, stall=0.4) as ncbi:
        for stem, faults in scripts.items():
            ncbi.scripts.add(f"{stem}_genomic.fna.gz", faults)
        store = Store(Path(folder))
        result = fetch_from(ncbi, store, taxa=("562",), timeout=0.15, retries=2, jobs=3)
        got = fasta_bytes(store)
        assert got == truth(ncbi, list(got))
        assert len(got) + len(result.failures) == len(COLI)
        ncbi.scripts.clear()
        fetch_from(ncbi, store, taxa=("562",))
        assert fasta_bytes(store) == truth(ncbi, COLI)
        assert leftovers(store.root) == []


@settings(quick, max_examples=4)
@given(st.lists(st.sampled_from([Fault.OK, Fault.FIN, Fault.ERROR_503]), max_size=6))
def test_the_summaries_come_over_the_same_bad_line(faults: list[Fault]) -> None:
    with tempfile.TemporaryDirectory() as folder, MiniNcbi(world=WORLD, api_down=True) as ncbi:
        ncbi.scripts.add("assembly_summary_refseq.txt", faults)
        ncbi.scripts.add("new_taxdump.tar.gz", faults[::-1])
        store = Store(Path(folder))
        fetch_from(ncbi, store, taxa=("Escherichia coli",))
        assert fasta_bytes(store) == truth(ncbi, COLI)


@pytest.mark.parametrize("rate", [20.0, 40.0])
def test_requests_keep_the_rate_by_the_servers_clock(tmp_path: Path, rate: float) -> None:
    with MiniNcbi(world=make_world()) as ncbi:
        ncbi.world.page_size = 1
        fetch_from(ncbi, Store(tmp_path), taxa=("562",), rate=rate, jobs=8)
        for api in (True, False):
            times = [a.at for a in ncbi.log if a.path.startswith("/datasets") is api]
            assert len(times) > 5
            for start in times:
                within = sum(start <= at < start + 0.25 for at in times)
                assert within <= 0.25 * rate + 2, "the server saw a burst"


def test_retry_after_is_honoured_by_every_worker(tmp_path: Path) -> None:
    waited: list[float] = []
    with MiniNcbi(world=make_world()) as ncbi:
        once = iter([Fault.TOO_MANY_WAIT])

        def find_fault(path: str) -> Fault:
            if path.endswith("md5checksums.txt"):
                fault = next(once, Fault.OK)
                waited.extend([time.monotonic()] if fault is not Fault.OK else [])
                return fault
            return Fault.OK

        ncbi.find_fault = find_fault
        ncbi.retry_after = 1
        fetch_from(ncbi, Store(tmp_path), taxa=("562",), jobs=1)
        # What was on its way already may arrive; then nobody asks until the time is over.
        hushed = [a.at for a in ncbi.log if waited[0] + 0.3 < a.at < waited[0] + 0.9]
        assert not hushed
        assert max(a.at for a in ncbi.log) > waited[0] + 0.9
