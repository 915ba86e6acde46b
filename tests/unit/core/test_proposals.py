"""Proposals of names that resemble a wrong one."""

from __future__ import annotations

import pytest

from genomeformer_cli.core.proposals import closest, propose


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sofmax", ["softmax"]), ("LINEAR", ["linear"]), ("zzz", [])],
)
def test_names_that_resemble(name: str, expected: list[str]) -> None:
    assert closest(name, ["softmax", "linear", "Performer"]) == expected


def test_a_hint_with_and_without_a_proposal() -> None:
    known = ["tiny", "small"]
    assert propose("tiyn", known, otherwise="known: ...") == "did you mean `tiny`? known: ..."
    assert propose("zzz", known, otherwise="known: ...") == "known: ..."
    assert propose("tiyn", known, otherwise="") == "did you mean `tiny`?"
