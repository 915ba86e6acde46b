"""Bundles in the automatic classes of transformers, after `import genomeformer_cli.transformers`.

The import registers every architecture of the package with `AutoConfig`, `AutoModel`,
`AutoModelForMaskedLM` and `AutoModelForCausalLM`; nothing is downloaded and no remote code runs.
`AutoTokenizer` reads the tokenizer of a bundle as it is. The package `transformers` is not a
dependency of genomeformer.
Shape letters: B batch, L length, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from genomeformer_cli.core.configuration import from_plain
from genomeformer_cli.core.errors import CheckpointError, ConfigError, MissingExtraError
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model, write_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.registry import ARCHITECTURES, build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import seal

try:
    import transformers
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput, MaskedLMOutput
except ImportError as failure:
    raise MissingExtraError(
        "`genomeformer_cli.transformers` needs the package `transformers`",
        hint="`pip install transformers`; `genomeformer_cli.load` works without it",
    ) from failure

# Label of a position without a loss, as in transformers.
_NO_LABEL = -100
# Arguments that the automatic classes add on their own.
_INTERNAL = {"_from_auto", "adapter_kwargs", "trust_remote_code"}


def _config_init(self: Any, model: dict[str, Any] | None = None, **entries: Any) -> None:
    """Take over the entries of `config.json`; sizes have the names of transformers too."""
    self.model = dict(model or {})
    sizes = from_plain(self.architecture.config, self.model, where="config.json")
    self.vocab_size = sizes.vocabulary_size
    self.hidden_size = sizes.width
    self.num_hidden_layers = sizes.depth
    self.max_position_embeddings = sizes.context
    entries.pop("model_type", None)
    PretrainedConfig.__init__(self, **entries)


class GenomeformerModel(PreTrainedModel):
    """Features of a model of this package.

    Args:
        config: Configuration, as `AutoConfig` reads it.
        loaded: Model and tokenizer; None: initial weights.
    """

    base_model_prefix = "network"
    main_input_name = "input_ids"
    config_class: ClassVar[Any]

    def __init__(self, config: Any, loaded: LoadedModel | None = None) -> None:
        super().__init__(config)
        self.loaded = loaded
        settings = from_plain(config.architecture.config, config.model, where="config.json")
        self.check_direction(settings.direction)
        self.network = build_model(settings) if loaded is None else loaded.model

    def check_direction(self, direction: str) -> None:
        """Refuse a model that is not trained for the task of the class."""

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, config: Any = None, revision: str | None = None, **options: Any
    ) -> Any:
        """Load a bundle, after all its checksums are verified.

        Args:
            name: Folder, or `ORG/NAME` on the Hub.
            config: Configuration, if already read.
            revision: Branch, tag or commit on the Hub.
            options: `dtype` or `torch_dtype`; others are refused.

        Raises:
            ConfigError: An option is not supported.
            CheckpointError, CorruptError: The model cannot be used.
        """
        dtype = options.pop("dtype", None) or options.pop("torch_dtype", None)
        for option, value in options.items():
            if option not in _INTERNAL and value is not None:
                raise ConfigError(
                    f"`from_pretrained` of a genomeformer model has no option `{option}`",
                    hint="options: `revision`, `dtype`; move the model with `.to(device)`",
                )
        address = str(name)
        if not Path(address).is_dir():
            address = f"hf://{address}" + (f"@{revision}" if revision else "")
        loaded = read_model(model_folder(address, store=Store(), reporter=SilentReporter()))
        if config is None:
            config = cls.config_class.from_pretrained(loaded.folder)
        model = cls(config, loaded)
        if isinstance(dtype, str):
            dtype = None if dtype == "auto" else getattr(torch, dtype)
        if dtype is not None:
            model.to(dtype)
        return model.eval()

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write model and tokenizer into a sealed folder in our layout.

        Raises:
            ConfigError: An option is not supported.
            CheckpointError: The model was not loaded with a tokenizer.
        """
        if options:
            raise ConfigError(
                f"`save_pretrained` of a genomeformer model has no option `{min(options)}`",
                hint="give the folder alone; `genomeformer release --push` uploads a bundle",
            )
        if self.loaded is None:
            raise CheckpointError(
                "a model without a tokenizer cannot be saved", hint="load it with `from_pretrained`"
            )
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        write_model(self.network, self.loaded.tokenizer, folder)
        seal(folder)

    def layers(self, input_ids: Tensor, attention_mask: Tensor | None, *, all_of: bool) -> Any:
        """Return the features of the last layer, or of all from the embedding on.

        Args:
            input_ids: Token ids (B, L), with the tokens that `AutoTokenizer` adds around them.
            attention_mask: 1 at real tokens, 0 at padding at the end of rows; None without padding.
            all_of: Return every layer.

        Raises:
            ConfigError: Padding stands before tokens.
        """
        mask_BL = None if attention_mask is None else attention_mask.bool()
        if mask_BL is not None and not bool((mask_BL[:, 1:] <= mask_BL[:, :-1]).all()):
            raise ConfigError(
                "padding stands before tokens", hint="set `tokenizer.padding_side = 'right'`"
            )
        if mask_BL is not None and bool(mask_BL.all()):
            mask_BL = None
        depth = self.network.config.depth
        layers = tuple(range(depth + 1)) if all_of else (depth,)
        return self.network.framed_layers(input_ids, mask_BL, layers)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,  # noqa: FBT001 - the interface of transformers
        **_: Any,
    ) -> Any:
        """Return the features (B, L, E) as `last_hidden_state`."""
        layers = self.layers(input_ids, attention_mask, all_of=bool(output_hidden_states))
        return BaseModelOutput(
            last_hidden_state=layers[-1],
            hidden_states=tuple(layers) if output_hidden_states else None,
        )


class GenomeformerForMaskedLM(GenomeformerModel):
    """Logits of the token at every position."""

    def check_direction(self, direction: str) -> None:
        """Refuse a causal model.

        Raises:
            ConfigError: The model is causal.
        """
        if direction == "causal":
            raise ConfigError("the model is causal", hint="`AutoModelForCausalLM` opens it")

    def forward(  # noqa: D102 - as above
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,  # noqa: FBT001
        labels: Tensor | None = None,
        **_: Any,
    ) -> Any:
        layers = self.layers(input_ids, attention_mask, all_of=bool(output_hidden_states))
        logits_BLV = self.network.logits(layers[-1])
        return MaskedLMOutput(
            loss=None if labels is None else _loss(logits_BLV, labels),
            logits=logits_BLV,
            hidden_states=tuple(layers) if output_hidden_states else None,
        )


class GenomeformerForCausalLM(GenomeformerModel):
    """Logits of the token after every position."""

    def check_direction(self, direction: str) -> None:
        """Refuse a model that sees tokens on both sides.

        Raises:
            ConfigError: The model is not causal.
        """
        if direction != "causal":
            raise ConfigError("the model is not causal", hint="`AutoModelForMaskedLM` opens it")

    def forward(  # noqa: D102 - as above
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,  # noqa: FBT001
        labels: Tensor | None = None,
        **_: Any,
    ) -> Any:
        layers = self.layers(input_ids, attention_mask, all_of=bool(output_hidden_states))
        logits_BLV = self.network.logits(layers[-1])
        return CausalLMOutput(
            loss=None if labels is None else _loss(logits_BLV[:, :-1], labels[:, 1:]),
            logits=logits_BLV,
            hidden_states=tuple(layers) if output_hidden_states else None,
        )


def _loss(logits_BLV: Tensor, labels_BL: Tensor) -> Tensor:
    flat_NV, flat_N = logits_BLV.flatten(0, 1).float(), labels_BL.flatten()
    return functional.cross_entropy(flat_NV, flat_N, ignore_index=_NO_LABEL)


def _register() -> None:
    """Register one configuration and three models per architecture."""
    models = {
        transformers.AutoModel: GenomeformerModel,
        transformers.AutoModelForMaskedLM: GenomeformerForMaskedLM,
        transformers.AutoModelForCausalLM: GenomeformerForCausalLM,
    }
    for model_type, architecture in ARCHITECTURES.items():
        members = {
            "__init__": _config_init,
            "__module__": __name__,
            "architecture": architecture,
            "model_type": model_type,
        }
        config = type("GenomeformerConfig", (PretrainedConfig,), members)
        transformers.AutoConfig.register(model_type, config, exist_ok=True)
        for automatic, base in models.items():
            model = type(base.__name__, (base,), {"__module__": __name__, "config_class": config})
            automatic.register(config, model, exist_ok=True)


_register()
