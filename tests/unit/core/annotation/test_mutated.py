"""Damaged annotation: refused in the error tree, or read so that nothing named is intergenic."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from genomeformer_cli.core.annotation.config import Label, WindowRules
from genomeformer_cli.core.annotation.intake import Intake
from genomeformer_cli.core.annotation.reading import AnnotatedRecord, annotated_records
from genomeformer_cli.core.annotation.windows import candidates
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.feature import kind_of
from genomeformer_cli.core.reporting import SilentReporter
from tests.annotation_files import BLANK, PACKERS, Truth, draw_truth, genbank_text, gff_text

RULES = WindowRules(labels=tuple(Label), length=9, promoter=(6, 3), terminator=(3, 6), margin=0)
_ODD = (
    *("\t", "\n", " ", "  ", "     ", "..", "^", ",", "(", ")", "<", ">", ":", "/", '"', "=", ";"),
    *("%", "%41", "-", "+", "?", ".", "#", "##", "##FASTA\n", ">", "//", "//\n", "LOCUS       x\n"),
    *(
        "complement(",
        "join(",
        "order(",
        "one-of(",
        "J1.1:",
        "0",
        "1",
        "9" * 20,
        "\N{SUPERSCRIPT TWO}",
    ),
    *(
        "\ufeff",
        "\x0b",
        "\x1c",
        "\u2028",
        "é",
        "\ufffd",
        "CDS",
        "gene ",
        "source",
        "circular",
        "ORIGIN",
    ),
    *("FEATURES", "\nFEATURES\n", "\nORIGIN\n", "/pseudo", "Is_circular=true", "ID=t0", "bp", "aa"),
    "     gene            5..20\n",
)


def mutated(text: str, draw: random.Random) -> bytes:
    """Harm a text a few times, by letters and by lines, and pack it."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        text = _harmed(text, draw)
    content = text.encode()
    kind = draw.random()
    if kind < 0.1:
        content = PACKERS[draw.choice(sorted(PACKERS))](content)
        at = draw.randrange(len(content))
        if draw.random() < 0.5:
            content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    elif kind < 0.2:
        at = draw.randrange(len(content) + 1)
        content = content[:at] + bytes([draw.randrange(256)]) + content[at:]
    return content


def _harmed(text: str, draw: random.Random) -> str:
    at = draw.randrange(len(text) + 1)
    to = min(len(text), at + draw.choice((1, 1, 2, 5, 30)))
    kind = draw.randrange(8)
    if kind == 0:
        return text[:at] + draw.choice(_ODD) + text[at:]
    if kind == 1:
        return text[:at] + text[to:]
    if kind == 2:
        return text[:at] + text[at:to] * 2 + text[to:]
    if kind == 3:
        return text[:at] + draw.choice(_ODD) + text[to:]
    if kind == 4 and draw.random() < 0.2:
        return text[:at]
    lines = text.split("\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    if kind == 5:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 6:
        lines.insert(other, lines[one])
    elif draw.random() < 0.5:
        lines[one] = lines[one].strip()
    else:
        lines[one] = " " * draw.randrange(12) + lines[one]
    return "\n".join(lines)


def read(
    folder: Path, content: bytes, truth: Truth | None
) -> tuple[list[AnnotatedRecord], int] | None:
    """Return records and the number of features read; None: the file was refused.

    Whatever was read is used, or counted as left out.
    """
    (folder / "annotation").write_bytes(content)
    fasta = None
    if truth is not None:
        fasta = folder / "c.fa"
        fasta.write_text(f">c\n{truth.dna}\n>c.1\n{truth.dna}\n", encoding="utf-8")
    intake = Intake()
    records = annotated_records(
        fasta, folder / "annotation", reporter=SilentReporter(), intake=intake
    )
    refusal: InputError | None = None
    try:
        found = list(records)
    except InputError as failure:
        refusal = failure
    if refusal is not None:
        assert refusal.hint
        assert "\n" not in refusal.message
        return None
    for tally in (intake.features, intake.records):
        assert tally.read == tally.used + tally.left_out.total()
    return found, intake.features.read


def intergenic(record: AnnotatedRecord) -> set[int]:
    return {
        at % record.codes.size
        for window in candidates(record, RULES, "g")
        if window.label is Label.INTERGENIC
        for at in range(window.start, window.end)
    }


def genbank_bases(content: bytes) -> tuple[set[int], int]:
    """Bases that any location names, 0-based, and the number of features, read line by line."""
    lines = content.decode("utf-8", errors="replace").expandtabs().split("\n")
    named: set[int] = set()
    location, inside, num_features = "", False, 0
    for line in [*lines, "ORIGIN"]:
        indent = len(line) - len(line.lstrip())
        text = line.strip()
        starts = line[:1].isspace() and indent < 12 and text and text[0] != "/"
        if location and (starts or not text or text[0] == "/" or line[:1].strip()):
            local = re.sub(r"[\w.|-]+:[^,()]*|gap\([^)]*\)", "", "".join(location.split()))
            named |= {int(one) - 1 for one in re.findall(r"[0-9]+", local) if int(one)}
            location = ""
        if line[:1].strip():
            inside = line.startswith("FEATURES")
        elif inside and starts:
            num_features += 1
            key, _, rest = text.partition(" ")
            location = rest if kind_of(key) is not None else ""
        elif inside and location and text and text[0] != "/":
            location += text
    return named, num_features


def gff_bases(content: bytes) -> tuple[dict[str, set[int]], int]:
    """First and last bases of the lines of each record, 0-based, and the number of lines."""
    named: dict[str, set[int]] = {}
    num_lines = 0
    for line in content.decode("utf-8", errors="replace").removeprefix("\ufeff").split("\n"):
        if line.casefold().startswith(("##fasta", ">")):
            break
        cells = line.split("\t")
        if len(cells) < 9 or line.lstrip().startswith("#"):
            continue
        num_lines += 1
        if kind_of(cells[2].strip()):
            named.setdefault(cells[0].strip(), set()).update(
                int(one.strip()) - 1 for one in cells[3:5]
            )
    return named, num_lines


PACKED = (b"\x1f", b"BZ", b"\xfd", b"\x28\xb5")


def check_genbank(folder: Path, seed: int) -> bool:
    draw = random.Random(seed)
    truth = draw_truth(draw, unclear=0.3)
    text = genbank_text(truth, draw).replace(BLANK, " ")
    content = mutated(text, draw)
    found = read(folder, content, truth if draw.random() < 0.3 else None)
    if found and not content.startswith(PACKED) and content.count(b"LOCUS") == 1:
        named, num_features = genbank_bases(content)
        records, num_read = found
        assert num_read == num_features
        for record in records:
            size = record.codes.size
            assert not {at % size for at in named} & intergenic(record)
    return found is not None


def check_gff(folder: Path, seed: int) -> bool:
    draw = random.Random(seed)
    truth = draw_truth(draw)
    text = gff_text(truth, draw)
    alone = draw.random() < 0.5
    if alone:
        text += f"{draw.choice(('##FASTA', '##FASTA ', ''))}\n>c d\n{truth.dna}\n".lstrip("\n")
    content = mutated(text, draw)
    found = read(folder, content, None if alone else truth)
    if found and not content.startswith(PACKED):
        named, num_lines = gff_bases(content)
        records, num_read = found
        assert num_read <= num_lines
        for record in records:
            size = record.codes.size
            assert not {at % size for at in named.get(record.id, ())} & intergenic(record)
    return found is not None


@pytest.mark.parametrize("check", [check_genbank, check_gff])
@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_or_safe(check, number: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    num_read = sum(check(tmp_path, seed) for seed in range(number))
    assert 0.2 * number < num_read < 0.9 * number
