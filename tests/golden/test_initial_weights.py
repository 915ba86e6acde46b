"""Initial weights of runs, as `pretrain` draws them: location, spread and first numbers of each.

A digest would not do: torch draws float32 numbers by vector instructions where a processor has
them, which differ in the last bit.
"""

from __future__ import annotations

from typing import Any

from genomeformer_cli.core.attention.registry import ATTENTIONS
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.workflows.run_config import resolve_config
from tests.conftest import GoldenNumbers
from tests.golden_numbers import Tolerance

TOLERANCE = Tolerance(
    relative=1e-5, absolute=1e-7, reason="float32 draws by other vector instructions"
)
SMALL = {"width": 16, "depth": 2, "num_heads": 2, "mlp_width": 24, "context": 64}
MODELS: dict[str, dict[str, Any]] = {
    "preset tiny": {},
    "two-stack, untied": {**SMALL, "direction": "two-stack", "tied": False, "conv_width": 3},
    "two-stack, tied, patch 4": {**SMALL, "direction": "two-stack", "patch": 4},
    "reversible": {**SMALL, "residual": "reversible"},
} | {name: {**SMALL, "attention": {"name": name}} for name in ATTENTIONS}


def test_initial_weights(golden_numbers: GoldenNumbers) -> None:
    values: dict[str, Any] = {}
    for name, overrides in MODELS.items():
        config = resolve_config("tiny", None, {"model": overrides}, CharTokenizer(), None)
        model = build_model(config.model, seed=config.training.seed)
        for weight_name, weight in model.state_dict().items():
            flat = weight.double().flatten()
            spread = float(flat.std()) if flat.numel() > 1 else 0.0
            numbers = [float(flat.mean()), spread, *flat[:3].tolist()]
            values[f"{name}: {weight_name}"] = [list(weight.shape), numbers]
    golden_numbers("initial_weights.json", values, TOLERANCE)
