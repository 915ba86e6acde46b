"""HyenaDNA and GPN against numbers of their authors' code, stored in `tests/data/architectures`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.model_io.published import read_published
from genomeformer_cli.core.models import hyena_block
from genomeformer_cli.core.models.families import gpn, hyena
from genomeformer_cli.core.models.framed import Frame, FramedModel
from genomeformer_cli.core.models.registry import build_model, find_family
from genomeformer_cli.core.sequence import encode_bases

DATA = Path(__file__).parents[1] / "data" / "architectures"


@dataclass(frozen=True)
class Oracle:
    """Stored model of a family."""

    folder: str  # Folder of the numbers.
    read_config: Callable[[Any, Frame], Any]  # Reader of `config.json`.
    convert: Callable[[Any, Any], dict[str, Tensor]]  # Converter of the tensors.
    frame: Frame  # Tokens around every sequence.
    gradient: str  # Name of the tensor whose gradient is stored.

    @property
    def document(self) -> dict[str, Any]:
        """Parsed `config.json`."""
        plain: dict[str, Any] = json.loads((DATA / self.folder / "config.json").read_text())
        return plain

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors under the authors' names."""
        return load_file(DATA / self.folder / "model.safetensors")

    def expected(self) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        """Return ids without the frame, hidden states (N, L, E) and logits (L, V), by length."""
        stored = load_file(DATA / self.folder / "expected.safetensors")
        lengths = sorted(int(name.partition("_")[2]) for name in stored if name.startswith("ids"))
        return {
            n: (
                stored[f"ids_{n}"][:n].long(),
                stored[f"hidden_{n}"][:, :n],
                stored[f"logits_{n}"][:n],
            )
            for n in lengths
        }

    def port(self) -> FramedModel:
        """Return our model with the stored weights."""
        config = self.read_config(self.document, self.frame)
        model = build_model(config)
        assert isinstance(model, FramedModel)
        model.load_state_dict(self.convert(self.tensors, config))
        return model.eval()


GPN = Frame(pad_id=0)
ORACLES = {
    "hyenadna": Oracle(
        "hyenadna",
        hyena.read_config,
        hyena.convert,
        Frame(pad_id=4, suffix=(1,)),
        "embedding.weight",
    ),
    "gpn": Oracle("gpn", gpn.read_config, gpn.convert, GPN, "blocks.0.convolution.weight"),
    "gpn-bytenet": Oracle(
        "gpn-bytenet", gpn.read_config, gpn.convert, GPN, "blocks.0.convolution.weight"
    ),
    "gpn-convnet": Oracle(
        "gpn-convnet",
        gpn.read_first_config,
        gpn.convert_first,
        GPN,
        "blocks.0.convolution.weight",
    ),
}


@pytest.fixture(params=ORACLES)
def oracle(request: pytest.FixtureRequest) -> Oracle:
    return ORACLES[request.param]


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_hidden_states_and_logits_are_those_of_the_authors(oracle: Oracle) -> None:
    model = oracle.port()
    layers = tuple(range(model.config.depth + 1))
    for ids_L, hidden_NLE, logits_LV in oracle.expected().values():
        found = model.hidden_layers(ids_L[None], None, layers)
        assert_near(torch.cat(found), hidden_NLE)
        assert_near(model.logits(found[-1])[0], logits_LV)


@torch.no_grad()
def test_rows_of_a_batch_have_the_numbers_of_rows_alone(oracle: Oracle) -> None:
    model, expected = oracle.port(), oracle.expected()
    layers = tuple(range(model.config.depth + 1))
    lengths = torch.tensor(list(expected))
    mask_BL = torch.arange(int(lengths.max()) + 1) < lengths[:, None]
    for fill in (model.config.frame.pad_id, 5):
        tokens_BL = torch.full(mask_BL.shape, fill)
        for row, (ids_L, _, _) in enumerate(expected.values()):
            tokens_BL[row, : len(ids_L)] = ids_L
        found = torch.stack(model.hidden_layers(tokens_BL, mask_BL, layers))
        for row, (ids_L, hidden_NLE, _) in enumerate(expected.values()):
            assert_near(found[:, row, : len(ids_L)], hidden_NLE)


def test_gradients_are_those_of_the_authors(oracle: Oracle) -> None:
    model = oracle.port()
    stored = load_file(DATA / oracle.folder / "expected.safetensors")
    ids_L = stored["ids_64"].long()
    expected = stored["gradient_64"]
    for checkpointed in (False, True):
        model.set_checkpointing(enabled=checkpointed)
        model.zero_grad()
        features_BME = model.framed_layers(ids_L[None], None, (model.config.depth,))[0]
        logits_LV = model.logits(features_BME)[0]
        weight_LV = torch.cos(torch.arange(logits_LV.numel())).view_as(logits_LV)
        torch.autograd.backward((logits_LV * weight_LV).sum())
        gradient = model.get_parameter(oracle.gradient).grad
        assert gradient is not None
        assert_near(gradient / expected.abs().max(), expected / expected.abs().max())


def test_headers_alone_give_the_shapes(oracle: Oracle) -> None:
    config = oracle.read_config(oracle.document, oracle.frame)
    skeletons = {name: tensor.to("meta") for name, tensor in oracle.tensors.items()}
    shapes = {name: item.shape for name, item in oracle.convert(skeletons, config).items()}
    assert shapes == {name: item.shape for name, item in build_model(config).state_dict().items()}


def test_every_tensor_is_needed_and_none_is_left_over(oracle: Oracle) -> None:
    config, tensors = oracle.read_config(oracle.document, oracle.frame), oracle.tensors
    for name in tensors:
        rest = {other: tensor for other, tensor in tensors.items() if other != name}
        with pytest.raises(CheckpointError, match="lack the tensor"):
            oracle.convert(rest, config)
    with pytest.raises(CheckpointError, match=r"`score\.weight`, unknown"):
        oracle.convert({**tensors, "score.weight": torch.zeros(2)}, config)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("hyenadna", "hyena_order", 3, "`hyena_order` is `3`"),
        ("hyenadna", "short_filter_order", 4, "`short_filter_order` is `4`"),
        ("hyenadna", "layer_norm_epsilon", 1e-6, "`layer_norm_epsilon`"),
        ("hyenadna", "train_freq", False, "`train_freq` is `False`"),
        ("hyenadna", "pad_vocab_size_multiple", 16, "`pad_vocab_size_multiple`"),
        ("hyenadna", "emb_dim", 4, "invalid number of features of a distance"),
        ("hyenadna", "max_seq_len", 2, "at least 1"),
        ("hyenadna", "attn_layer_idx", [1], "unknown key `attn_layer_idx`"),
        ("hyenadna", "auto_map", {"AutoModel": "other.Model"}, "`other.Model`"),
        ("gpn", "encoder", "roformer", "`encoder` is `roformer`"),
        ("gpn", "embedding", "probabilities", "`embedding` is"),
        ("gpn", "n_aux_features", 5, "`n_aux_features` is `5`"),
        ("gpn", "num_hidden_layers", 10**9, "invalid `num_hidden_layers`"),
        ("gpn", "dilation_cycle", 10**6, "invalid dilations"),
        ("gpn", "hidden_size", 6, "no one-hot code"),
        ("gpn", "tie_word_embeddings", True, "`tie_word_embeddings` is `True`"),
        ("gpn", "architectures", ["GPNForTokenClassification"], "`architectures`"),
        ("gpn-convnet", "kernel_size", 0, "at least 1"),
        ("gpn-convnet", "dilation_base", 0, "invalid dilations"),
        ("gpn-convnet", "auto_map", {"AutoModel": "convnet.Model"}, "not ported"),
    ],
)
def test_other_settings_are_refused(name: str, key: str, value: object, message: str) -> None:
    oracle = ORACLES[name]
    with pytest.raises(ConfigError, match=message):
        oracle.read_config(oracle.document | {key: value}, oracle.frame)


@pytest.mark.parametrize(
    ("document", "message", "hint"),
    [
        ({"d_model": 128, "layer": {"l_max": 1026}}, "never read", "seqlen-hf"),
        ({"model_type": "GPNRoFormer"}, "GPN-MSA reads alignments", "brassicales"),
        ({"model_type": "GPNStar"}, "GPN-Star reads alignments", "brassicales"),
        ({"model_type": "phylogpn"}, "PhyloGPN predicts rates", "brassicales"),
    ],
)
def test_layouts_that_cannot_be_read_are_refused_with_a_way_out(
    document: dict[str, Any], message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as failure:
        read_published(tmp_path, document)
    assert hint in str(failure.value.hint)
    for function in (
        lambda: find_family(document).read_config(document, Frame()),
        lambda: find_family(document).convert({}, None),
    ):
        with pytest.raises(ConfigError):
            function()


@torch.no_grad()
def test_the_folder_of_the_authors_is_read_as_it_is(oracle: Oracle) -> None:
    published = read_published(DATA / oracle.folder, oracle.document)
    assert published.config == oracle.read_config(oracle.document, oracle.frame)
    ids = published.tokenizer.encode(encode_bases("ACGTNacgturN")).tolist()
    first, unknown = {4: (7, 11), 0: (3, 2)}[oracle.frame.pad_id]
    bases = [first, first + 1, first + 2, first + 3]
    assert ids == [*bases, unknown, *bases, first + 3, unknown, unknown]


def test_copies_of_the_frequency_are_equal_or_the_model_is_refused() -> None:
    oracle = ORACLES["hyenadna"]
    config, tensors = oracle.read_config(oracle.document, oracle.frame), oracle.tensors
    name = "hyena.backbone.layers.1.mixer.filter_fn.implicit_filter.{}.freq"
    copies = {name.format(place): tensors[name.format(1)].clone() for place in (3, 5)}
    oracle.convert(tensors | copies, config)
    copies[name.format(5)] += 1
    with pytest.raises(CheckpointError, match="copies of"):
        oracle.convert(tensors | copies, config)


def test_a_tied_head_is_the_embedding() -> None:
    oracle = ORACLES["hyenadna"]
    config = oracle.read_config(oracle.document | {"tie_word_embeddings": True}, oracle.frame)
    model = build_model(config)
    model.load_state_dict(oracle.convert(oracle.tensors, config))
    features = torch.randn(2, config.width, generator=torch.Generator().manual_seed(1))
    expected = features @ oracle.tensors["hyena.backbone.embeddings.word_embeddings.weight"].T
    torch.testing.assert_close(model.logits(features), expected)


@torch.no_grad()
def test_slices_of_long_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = ORACLES["hyenadna"]
    model = oracle.port()
    monkeypatch.setattr(hyena_block, "_SLICE", 11)
    for ids_L, hidden_NLE, _ in oracle.expected().values():
        assert_near(model.hidden(ids_L[None], None)[0], hidden_NLE[-1])
