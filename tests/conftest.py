"""Fixtures of all tests: a separate cache, no network, and ways to run the command line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.cli import Finished, RunCommand, run_fresh
from tests.golden_numbers import Tolerance, to_text
from tests.golden_numbers import compare as compare_numbers
from tests.mini_hub import hub
from tests.models import trained, trained_cache
from tests.one_process import stay_in_one_process
from tests.small_runs import config

if TYPE_CHECKING:
    from torch import Tensor

    from genomeformer_cli.core.workflows.pretrain import PretrainResult

__all__ = ["config", "hub", "trained", "trained_cache"]

# A time limit per example would make tests fail on a busy machine. `make test-all` takes the
# thorough profile.
settings.register_profile("genomeformer", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("genomeformer")

# Small models: more threads only wait for each other. Fresh processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

GOLDEN = Path(__file__).parent / "golden"

GOLDEN_FIXTURES = {"golden", "golden_numbers"}

Golden = Callable[[str, str], None]
GoldenNumbers = Callable[[str, Mapping[str, Any], Tolerance], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden",
        action="store_true",
        help="run only the tests that compare with tests/golden, and rewrite its files",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--rewrite-golden"):
        return
    others = [item for item in items if not GOLDEN_FIXTURES & {*getattr(item, "fixturenames", ())}]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_disks() -> Iterator[None]:
    """Check descriptors in `fsync`, but write nothing out: no test cuts the power."""

    def check(descriptor: int) -> None:
        os.fstat(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", check)
        yield


@pytest.fixture(scope="session", autouse=True)
def checkout_without_new_files() -> Iterator[None]:
    """Fail if a test wrote into the folder that the tests were started in."""

    def names() -> set[str]:
        return {path.name for path in Path().iterdir() if not path.name.startswith((".", "__"))}

    folder, before = Path.cwd(), names()
    yield
    os.chdir(folder)
    assert not names() - before, "a test wrote into the working folder: `monkeypatch.chdir` first"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Undo the number of threads that a command set: it would slow down all later tests."""
    yield
    torch: Any = sys.modules.get("torch")
    # A test may put another object in its place.
    if hasattr(torch, "get_num_threads") and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; a process started by the test uses it too."""
    home = tmp_path / "cache"
    monkeypatch.setenv("GENOMEFORMER_HOME", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return home


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Run a command line in this process, as `main` sees it."""

    def run(*arguments: str, stdin: bytes = b"") -> Finished:
        from genomeformer_cli.app import main

        streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
        exit_code = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["genomeformer", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            try:
                main()
            except SystemExit as finished:
                code = finished.code
                exit_code = code if isinstance(code, int) else int(bool(code))
        written = {}
        for name, stream in streams.items():
            stream.flush()
            buffer = stream.detach()
            assert isinstance(buffer, io.BytesIO)
            written[name] = buffer.getvalue()
        return Finished(exit_code=exit_code, stdout=written["stdout"], stderr=written["stderr"])

    return run


@pytest.fixture
def run_cli_fresh() -> RunCommand:
    """Run a command line in a process of its own."""

    def run(*arguments: str, stdin: bytes = b"") -> Finished:
        return run_fresh(*arguments, stdin=stdin)

    return run


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load released bundles, and train compared models, without fresh processes."""
    stay_in_one_process(monkeypatch)


@pytest.fixture
def short_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the networks beside fine-tuned models for one pass over their rows."""
    from genomeformer_cli.core.finetuning import network_training

    monkeypatch.setattr(network_training, "MAX_EPOCHS", 1)
    monkeypatch.setattr(network_training, "_NUM_VALIDATIONS", 1)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write empty files instead of the pictures of runs, which take as long as a small run."""
    from genomeformer_cli.render import plots

    def plot(result: PretrainResult) -> Path:
        path = result.folder / plots.LOSS_FILE
        path.touch()
        return path

    monkeypatch.setattr(plots, "plot_loss", plot)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden("flags.txt", text)`: the text is what the file says; `make golden` makes it so."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--rewrite-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.is_file(), f"tests/golden/{name} is missing: run `make golden`"
        assert text.splitlines() == path.read_text(encoding="utf-8").splitlines(), (
            f"tests/golden/{name} moved: if it should, `make golden`, and say so in the changelog"
        )

    return compare


@pytest.fixture
def golden_numbers(request: pytest.FixtureRequest) -> GoldenNumbers:
    """Compare numbers with a JSON file of `tests/golden`; `make golden` rewrites the file."""

    def compare(name: str, values: Mapping[str, Any], tolerance: Tolerance) -> None:
        path = GOLDEN / name
        if request.config.getoption("--rewrite-golden"):
            moved = not path.is_file() or compare_numbers(path.read_text(), values, tolerance)
            if moved:  # else the file keeps its digits, and nothing is to be explained
                path.write_text(to_text(values, tolerance), encoding="utf-8")
            return
        assert path.is_file(), f"tests/golden/{name} is missing: run `make golden`"
        moved = compare_numbers(path.read_text(encoding="utf-8"), values, tolerance)
        assert not moved, (
            f"tests/golden/{name} moved: if it should, `make golden`, and say so in the changelog"
            "\n" + "\n".join(moved[:12])
        )

    return compare


@pytest.fixture
def poisoned_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill what `torch.empty` returns with NaN or the largest integer, so that reading it shows."""
    import torch

    def poison(tensor: Tensor) -> Tensor:
        with torch.no_grad():
            if tensor.is_floating_point() or tensor.is_complex():
                return tensor.fill_(float("nan"))
            is_bool = tensor.dtype == torch.bool
            return tensor.fill_(True if is_bool else torch.iinfo(tensor.dtype).max)

    def poisoned(allocate: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def allocate_poisoned(*arguments: Any, **options: Any) -> Tensor:
            return poison(allocate(*arguments, **options))

        return allocate_poisoned

    for owner, name in (
        (torch, "empty"),
        (torch, "empty_like"),
        (torch, "empty_strided"),
        (torch.Tensor, "new_empty"),
    ):
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))
