"""A corpus is compared with its seal before it is used; a lost vocabulary comes back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from genomeformer_cli.core.store.layout import Store
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import CORPUS, RUN

COMMANDS = {
    "pretrain": ("pretrain", "--corpus", CORPUS, "--name", "other"),
    "release": ("release", RUN, "--name", "other"),
    "compare": ("compare", CORPUS, "--tokens", "1000", "--device", "cpu"),
    "evaluate": ("evaluate", RUN, "--corpus", CORPUS, "--device", "cpu"),
    "statistics": ("tokenize", "--stats", "--name", CORPUS),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_corpus_that_was_overwritten_is_refused_by_name(
    command: str, run_cli: RunCommand, trained: Path
) -> None:
    tokens = trained / "corpora" / CORPUS / "tokens-00000.bin"
    Store(trained).verify_once(Store(trained).find(f"corpora/{CORPUS}")[0])
    tokens.write_bytes(tokens.read_bytes()[:1] * tokens.stat().st_size)
    done = run_cli(*COMMANDS[command])
    assert_failure(done, str(tokens), "checksum", hint="damaged")


def test_a_rerun_keeps_the_vocabulary_that_a_kill_lost(run_cli: RunCommand, trained: Path) -> None:
    kept = trained / "vocabularies" / "char"
    shutil.rmtree(kept)
    done = run_cli("tokenize", "--all", "--name", CORPUS)
    assert done.exit_code == 0, done.err
    assert (kept / "tokenizer.json").is_file()


def test_a_removal_that_was_killed_is_finished(run_cli: RunCommand, trained: Path) -> None:
    corpora = trained / "corpora"
    (corpora / CORPUS).rename(corpora / f".{CORPUS}.removed")
    assert run_cli("cache", "rm", f"runs/{RUN}").exit_code == 0
    assert list(corpora.iterdir()) == []
