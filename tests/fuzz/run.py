"""Fuzz every parser: `python -m tests.fuzz.run --seconds 60`, `--inputs 100000`, `--only NAME`.

An input that ends in anything but a result or an error of the package is kept, as short as it can
be cut, in `tests/fuzz/corpus/NAME/`; the default tests replay that folder.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from genomeformer_cli.core.errors import GenomeformerError
from tests.fuzz.folder_targets import Target, memory_folder
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import targets

CORPUS = Path(__file__).parent / "corpus"
# A reader that takes longer for 32 kB could be made to hang.
SLOWEST_SECONDS = 5.0


def attempt(target: Target, content: bytes, folder: Path) -> BaseException | None:
    """Return what a parser raised that is not an error of the package; None if it behaved."""
    path = folder / target.name
    path.write_bytes(content)
    started = time.process_time()
    try:
        target.read(path)
    except GenomeformerError:
        pass
    except Exception as failure:  # noqa: BLE001 - the point of it
        return failure
    if time.process_time() - started > SLOWEST_SECONDS:
        return TimeoutError(f"more than {SLOWEST_SECONDS} s of CPU time")
    return None


def inputs_of(name: str, number: int) -> bytes:
    """Return an input of a target: a pure function of its name and number."""
    draw = random.Random(f"{name}-{number}")
    return mutate(draw.choice(targets()[name].seeds), draw)


def fuzz(name: str, *, inputs: int, seconds: float, first: int = 0) -> tuple[int, int]:
    """Run one target; return how many inputs it took and how many were findings."""
    target = targets()[name]
    until = time.monotonic() + seconds
    found: dict[str, bytes] = {}
    number = first
    with TemporaryDirectory(prefix="genomeformer-fuzz-", dir=memory_folder()) as place:
        folder = Path(place)
        while number < first + inputs and time.monotonic() < until:
            content = inputs_of(name, number)
            failure = attempt(target, content, folder)
            if failure is not None:
                found.setdefault(_kind(failure), content)
            number += 1
        for kind, content in found.items():
            _keep(name, kind, _shortened(target, content, folder))
    return number - first, len(found)


def _kind(failure: BaseException) -> str:
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(failure).__name__} at {place}"


def _shortened(target: Target, content: bytes, folder: Path) -> bytes:
    """Cut away what the failure does not need."""
    size = len(content) // 2
    while size:
        for start in range(0, len(content), size):
            shorter = content[:start] + content[start + size :]
            if attempt(target, shorter, folder) is not None:
                content = shorter
                break
        else:
            size //= 2
    return content


def _keep(name: str, kind: str, content: bytes) -> None:
    place = CORPUS / name
    place.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content).hexdigest()[:12]
    (place / digest).write_bytes(content)
    sys.stderr.write(f"{name}: {kind}: kept as {place / digest}\n")


def main() -> int:
    """Run the targets and print one row per parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for all parsers")
    parser.add_argument("--inputs", type=int, default=1 << 62, help="for each parser")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", action="append", choices=list(targets()), help="parsers to run")
    given = parser.parse_args()
    names = given.only or list(targets())
    warnings.simplefilter("ignore")
    findings = 0
    for name in names:
        started = time.monotonic()
        number, found = fuzz(
            name, inputs=given.inputs, seconds=given.seconds / len(names), first=given.first
        )
        findings += found
        seconds = time.monotonic() - started
        sys.stdout.write(f"| {name} | {number:,} | {found} | {seconds:.0f} |\n")
        sys.stdout.flush()
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
