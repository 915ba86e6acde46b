"""Every number of every configuration has bounds, and its error names the setting."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import typing
from collections.abc import Iterator

import pytest

from genomeformer_cli import core
from genomeformer_cli.core.errors import ConfigError

_NUMBERS = (int, float, int | None, float | None)
# Checked by the mechanism that uses them, and a score of any sign.
_ELSEWHERE = {"AttentionConfig", "VariantsConfig.threshold", "CodonConfig.genetic_code"}


def configurations() -> Iterator[type]:
    """Yield the configurations that a user sets, which have defaults."""
    for module in pkgutil.walk_packages(core.__path__, f"{core.__name__}."):
        # Models of other authors are configured by their own files.
        if ".models." in module.name and ".models.genomeformer" not in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            is_own = getattr(value, "__module__", "") == module.name
            if is_own and dataclasses.is_dataclass(value) and name.endswith("Config"):
                yield typing.cast(type, value)


def numbers() -> Iterator[tuple[type, str]]:
    """Yield the numbers of all configurations."""
    for config in configurations():
        if any(
            field.default is field.default_factory is dataclasses.MISSING
            for field in dataclasses.fields(config)
        ):
            continue
        hints = typing.get_type_hints(config)
        for name, kind in hints.items():
            place = f"{config.__name__}.{name}"
            if kind in _NUMBERS and not {config.__name__, place} & _ELSEWHERE:
                yield config, name


@pytest.mark.parametrize("value", [-1, math.nan, -math.inf])
def test_a_number_out_of_bounds_is_refused_by_its_name(value: float) -> None:
    checked = list(numbers())
    assert len(checked) > 60
    for config, name in checked:
        if value != -1 and "float" not in str(typing.get_type_hints(config)[name]):
            continue
        with pytest.raises(ConfigError) as refused:
            config(**{name: value})
        assert name in refused.value.message, (config, name, refused.value.message)
