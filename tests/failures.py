"""Form of every failure of the command line."""

from __future__ import annotations

from tests.cli import Finished


def assert_failure(done: Finished, *words: str, hint: str = "", exit_code: int = 1) -> None:
    """One sentence that holds the words, a hint on a paragraph of its own, nothing on stdout."""
    lines = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 3, done.err
    sentence, between, advice = lines
    assert sentence.startswith("error: "), done.err
    assert not sentence.endswith("."), done.err
    assert "unexpected" not in sentence, done.err
    for word in words:
        assert word in sentence, done.err
    assert between == ""
    assert advice.startswith("hint: "), done.err
    assert hint in advice, done.err
    assert done.exit_code == exit_code
    assert done.stdout == b""
