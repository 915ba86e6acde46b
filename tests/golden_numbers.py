"""Golden numbers: JSON files of `tests/golden` whose numbers may differ by a stated tolerance.

Other processors round differently, so numbers that a computation gives are compared within a
tolerance, which every file states. Integers, strings and the names of everything are exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest accepted difference: `absolute + relative * |expected|`."""

    relative: float  # Factor of the expected number.
    absolute: float  # Difference accepted near zero.
    reason: str  # Cause of the differences.


def to_text(values: Mapping[str, Any], tolerance: Tolerance) -> str:
    """Return the file's text: one line per entry of `values`."""
    head = json.dumps(asdict(tolerance))
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in values.items())
    return f'{{\n"tolerance": {head},\n"values": {{\n{lines}\n}}\n}}\n'


def differences(expected: Any, found: Any, tolerance: Tolerance, where: str = "") -> Iterator[str]:
    """Yield one sentence per place where two JSON values differ by more than the tolerance."""
    if isinstance(expected, float) and isinstance(found, float):
        allowed = tolerance.absolute + tolerance.relative * abs(expected)
        both_nan = math.isnan(expected) and math.isnan(found)
        if not (both_nan or abs(found - expected) <= allowed):
            yield f"{where}: {found!r}, expected {expected!r} within {allowed:.1e}"
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        if list(expected) != list(found):
            yield f"{where}: entries {list(found)}, expected {list(expected)}"
        for name in expected.keys() & found.keys():
            yield from differences(expected[name], found[name], tolerance, f"{where}/{name}")
    elif _is_list(expected) and _is_list(found) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, tolerance, f"{where}[{number}]")
    elif type(expected) is not type(found) or expected != found:
        yield f"{where}: {found!r}, expected {expected!r}"


def compare(text: str, values: Mapping[str, Any], tolerance: Tolerance) -> list[str]:
    """Compare values with the text of a golden file; return the differences."""
    plain = json.loads(text)
    if plain["tolerance"] != asdict(tolerance):
        return [f"the tolerance is {plain['tolerance']}, expected {asdict(tolerance)}"]
    found = json.loads(json.dumps(values))
    return list(differences(plain["values"], found, tolerance))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
