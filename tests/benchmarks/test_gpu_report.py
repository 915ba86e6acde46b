"""Report of a GPU: parts that fail, hang or crash lose no other part; all of it runs on a CPU."""

from __future__ import annotations

from pathlib import Path

import gpu_report
import pytest
from gpu_report import Part, main

SCRIPT = """
import json, sys, time
arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
rows = [{"section": "x", "processes": name, "tokens": 10, "seconds": 1} for name in ("1", "2")]
rows.append({"section": "x", "processes": "3", "skipped": "out of memory"})
if sys.argv[1] != "nothing":
    open(arguments["--json"], "w").write(json.dumps({"about": "a device", "rows": rows}))
if sys.argv[1] == "hang":
    time.sleep(60)
sys.exit(sys.argv[1] == "crash")
"""
PAGE = "# Page\n\nA line.\n\n### An older question?\n\n- **Date:** 2026-01-01\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "part.py"
    path.write_text(SCRIPT)
    return path


def part(script: Path, kind: str, seconds: float = 60) -> Part:
    command = f"{script} {kind}"
    return Part(
        name=kind,
        question=f"Does {kind}?",
        seconds=seconds,
        command=command,
        tiny=command,
        summarise=gpu_report.of_processes,
    )


def test_a_part_that_fails_loses_no_other(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_report, "_GRACE", 0.1)
    monkeypatch.setattr(gpu_report, "has_gpu", lambda: True)
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    parts = [part(script, kind) for kind in ("crash", "nothing", "good")]
    parts.insert(1, part(script, "hang", seconds=2))
    assert main(["--page", str(page), "--folder", str(tmp_path / "out")], parts) == 1
    head, *entries = page.read_text().split("### ")
    assert head == "# Page\n\nA line.\n\n"
    verdicts = {
        text.partition("?")[0]: text.partition("**Verdict:** ")[2].strip() for text in entries
    }
    # A busy machine may not let it write its rows within its two seconds.
    assert verdicts.pop("Does hang").startswith("more than 2 s; ")
    assert verdicts == {
        "Does crash": "exit 1, see the log; 2: 1.00 of one",
        "Does nothing": "no cell was measured; to be repeated",
        "Does good": "2: 1.00 of one",
        "An older question": "",
    }
    assert "a device" in entries[0]
    assert "Without a figure: 3: out of memory" in entries[0]


def test_a_part_without_time_is_not_begun(script: Path, tmp_path: Path) -> None:
    options = ["--dry-run", "--deadline", "5", "--folder", str(tmp_path)]
    assert main(options, [part(script, "good")]) == 1
    assert not (tmp_path / "good.json").exists()


def test_without_a_gpu_nothing_is_written(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_report, "has_gpu", lambda: False)
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(SystemExit):
        main(["--page", str(page), "--folder", str(tmp_path)], [part(script, "good")])
    assert page.read_text() == PAGE


def test_budgets_fit_the_deadline() -> None:
    assert sum(one.seconds for one in gpu_report.PARTS) <= gpu_report.DEADLINE <= 12 * 60


@pytest.mark.slow
def test_the_whole_report_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run", "--folder", str(tmp_path), "--deadline", "2000"]) == 0
    out = capsys.readouterr().out
    for one in gpu_report.PARTS:
        assert f"### {one.question}" in out
    assert "nothing was measured" not in out
