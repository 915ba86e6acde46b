"""The run's records survive kills and resumptions."""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.training.metrics import MetricsFile, read_rows, training_bits


def test_a_resumed_file_forgets_what_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, resume_step=0)
    for step in (1, 2, 3):
        file.append({"step": step, "value": 0.1})
    file.close()
    whole = path.read_bytes()
    with path.open("ab") as cut_off:
        cut_off.write(b'{"step": 4, "val')
    resumed = MetricsFile(path, resume_step=2)
    resumed.append({"step": 3, "value": 0.1})
    resumed.close()
    assert path.read_bytes() == whole
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3]


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.jsonl") == []


def test_training_is_told_per_base_where_it_can_be() -> None:
    def row(**tokens: int) -> dict[str, dict[str, float]]:
        return {"training": {"bits_per_base": 1.5, "num_bases": 12, **tokens}}

    assert training_bits([row(), row()]) == [1.5, 1.5]
    assert training_bits([row(num_tokens=3)]) == [1.5]
    assert training_bits([row(num_tokens=12)]) == []
