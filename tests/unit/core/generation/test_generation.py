"""Written sequences and filled gaps: probabilities of `score`, seeds, and the choice of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import score_record
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.generation.continue_sequences import (
    GenerationOptions,
    WrittenSequence,
    check_writer,
    continue_sequence,
)
from genomeformer_cli.core.generation.fill_gaps import FillingOptions, check_filler, fill_gaps
from genomeformer_cli.core.generation.sampling import (
    SamplingOptions,
    draw,
    filtered_probabilities,
    row_generators,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.hyena import HyenaConfig
from genomeformer_cli.core.models.mamba import MambaConfig
from genomeformer_cli.core.models.protocol import ArchitectureConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from tests.corpora import random_dna
from tests.published_models import randomise
from tests.tiny_models import tiny_model

EMPTY = np.zeros(0, dtype=np.uint8)


def load(
    name: str = "char",
    direction: str = "causal",
    attention: str = "softmax",
    patch: int = 1,
    context: int = 128,
) -> LoadedModel:
    return tiny_model(name, direction, attention=attention, patch=patch, context=context)


SIZES: dict[str, Any] = {"vocabulary_size": 12, "context": 17, "width": 16, "depth": 2}
FOREIGN: dict[str, ArchitectureConfig] = {
    "llama": DecoderConfig(**SIZES, num_key_value_heads=2),
    "mistral, windows": DecoderConfig(**SIZES, windows=(5, 0)),
    "gpt-2, frame": DecoderConfig(**SIZES, positions="learned", frame=Frame(prefix=(3,))),
    "hyena": HyenaConfig(**SIZES, positions=19),
    "mamba": MambaConfig(**SIZES),
}


def load_foreign(name: str) -> LoadedModel:
    """Return a random model of another architecture, with enough spread of its logits."""
    frame = FOREIGN[name].frame  # type: ignore[attr-defined]
    tokenizer = build_tokenizer("char")
    vars(tokenizer)["prefix_ids"] = frame.prefix
    model = build_model(FOREIGN[name], seed=1).eval()
    randomise(model)
    return LoadedModel(model=model, tokenizer=tokenizer, folder=Path())


def write(loaded: LoadedModel, prompt: Codes = EMPTY, **options: object) -> list[WrittenSequence]:
    settings = GenerationOptions(**{"length": 60, **options})  # type: ignore[arg-type]
    return list(continue_sequence(loaded, prompt, settings))


@pytest.mark.parametrize("attention", ["softmax", "gated-linear", "reformer"])
@pytest.mark.parametrize("prompt", ["", "ACGTTGCAAC"])
def test_log_likelihood_is_that_of_score(attention: str, prompt: str) -> None:
    loaded = load(attention=attention)
    for sequence in write(loaded, encode_bases(prompt), number=3):
        assert sequence.codes.size == sequence.prompt_size + 60
        assert sequence.codes.max() < 4
        whole, _ = score_record(loaded, "x", sequence.codes, ScoringOptions())
        start, _ = score_record(loaded, "x", encode_bases(prompt), ScoringOptions())
        expected = whole.log_likelihood - (start.log_likelihood if prompt else 0)
        assert sequence.log_likelihood == pytest.approx(expected, abs=1e-4)
        assert sequence.num_scored == 60 - (not prompt)


@pytest.mark.parametrize("name", ["softmax", "patches", *FOREIGN])
def test_beyond_the_context_rows_are_read_in_the_windows_of_score(name: str) -> None:
    if name in FOREIGN:
        loaded = load_foreign(name)
    else:
        loaded = load(context=16, patch=4 if name == "patches" else 1)
    prompt = encode_bases(random_dna(40, 3))
    for sequence in write(loaded, prompt, number=2):
        whole, _ = score_record(loaded, "x", sequence.codes, ScoringOptions())
        start, _ = score_record(loaded, "x", prompt, ScoringOptions())
        expected = whole.log_likelihood - start.log_likelihood
        assert sequence.log_likelihood == pytest.approx(expected, abs=1e-4)
    assert abs(expected + 60 * np.log(4)) > 0.5


@pytest.mark.parametrize("name", ["char", "byte pairs, 64"])
def test_upstream_bases_follow_from_all_others(name: str) -> None:
    loaded, prompt = load(name), encode_bases("ACGTTGCAAC")
    rows = write(loaded, prompt, number=5, length=20, both_sides=True)
    ahead = write(loaded, prompt, number=5, length=20)
    for row, forward in zip(rows, ahead, strict=True):
        assert (row.codes.size, row.prompt_start, row.prompt_size) == (50, 20, 10)
        assert bytes(row.codes[20:]) == bytes(forward.codes)
        if name != "char":
            continue
        turned = reverse_complement_codes(row.codes)
        scores = [
            score_record(loaded, "x", codes, ScoringOptions())[0].log_likelihood
            for codes in (turned, turned[:30], row.codes[20:], prompt)
        ]
        expected = scores[0] - scores[1] + scores[2] - scores[3]
        assert row.log_likelihood == pytest.approx(expected, abs=1e-4)
    few = write(loaded, prompt, number=2, length=20, both_sides=True)
    assert [bytes(row.codes) for row in few] == [bytes(row.codes) for row in rows[:2]]


def test_overlapping_kmers_are_written_base_by_base() -> None:
    loaded = load("2-mers, overlapping")
    (sequence,) = write(loaded)
    assert sequence.codes.size == 60
    whole, _ = score_record(loaded, "x", sequence.codes, ScoringOptions())
    assert sequence.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-4)
    assert sequence.num_scored == 58
    with pytest.raises(ConfigError, match="overlap by other than all but one base"):
        check_writer(load("3-mers, stride 2"))


@pytest.mark.parametrize("name", ["3-mers", "byte pairs, 64"])
def test_longer_tokens_are_cut_at_the_length(name: str) -> None:
    loaded = load(name)
    rows = write(loaded, encode_bases("ACGTTG"), number=3, length=31)
    assert {row.codes.size for row in rows} == {37}
    assert all((row.codes[:6] == encode_bases("ACGTTG")).all() for row in rows)


def test_same_seed_same_bases_whatever_the_batch() -> None:
    loaded = load()
    many = write(loaded, number=70, length=20)
    again = write(loaded, number=70, length=20)
    few = write(loaded, number=3, length=20)
    assert [row.codes.tolist() for row in many] == [row.codes.tolist() for row in again]
    assert [row.codes.tolist() for row in many[:3]] == [row.codes.tolist() for row in few]
    assert len({bytes(row.codes) for row in many}) > 10
    other = write(loaded, number=3, length=20, seed=1)
    assert [bytes(row.codes) for row in other] != [bytes(row.codes) for row in few]


def test_temperature_0_takes_the_most_probable_base() -> None:
    loaded = load()
    greedy = SamplingOptions(temperature=0)
    rows = write(loaded, encode_bases("ACG"), number=2, sampling=greedy)
    assert bytes(rows[0].codes) == bytes(rows[1].codes)
    ids = torch.from_numpy(loaded.tokenizer.encode(rows[0].codes).astype(np.int64))
    with torch.inference_mode():
        logits = loaded.model(ids[None], None)[0, 2:-1, 5:9]
    assert logits.argmax(dim=-1).tolist() == rows[0].codes[3:].tolist()


def test_filters_keep_the_most_probable_tokens() -> None:
    nats = torch.tensor([[0.1, 0.4, 0.3, 0.2]], dtype=torch.float64).log()

    def probabilities(**options: object) -> list[float]:
        filtered = filtered_probabilities(nats, SamplingOptions(**options))  # type: ignore[arg-type]
        return [round(value, 6) for value in filtered[0].tolist()]

    assert probabilities() == [0.1, 0.4, 0.3, 0.2]
    assert probabilities(top_k=2) == [0, round(4 / 7, 6), round(3 / 7, 6), 0]
    assert probabilities(top_p=0.7) == [0, round(4 / 7, 6), round(3 / 7, 6), 0]
    assert probabilities(top_p=0.71) == [0, round(4 / 9, 6), round(3 / 9, 6), round(2 / 9, 6)]
    assert probabilities(top_p=1e-6) == [0, 1, 0, 0]
    assert probabilities(temperature=0) == [0, 1, 0, 0]
    squares = np.array([0.1, 0.4, 0.3, 0.2]) ** 2
    assert probabilities(temperature=0.5) == pytest.approx(squares / squares.sum(), abs=1e-6)


def test_draws_follow_the_probabilities() -> None:
    number = 20_000
    probability = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64).expand(number, -1)
    indices = draw(probability, row_generators(0, 0, 0, number))
    shares = torch.bincount(indices, minlength=4) / number
    assert shares[1] == 0
    # Four standard errors of a share of 0.6.
    assert (shares - probability[0]).abs().max() < 4 * (0.24 / number) ** 0.5


@pytest.mark.parametrize(
    ("options", "name"),
    [({"temperature": -1}, "temperature"), ({"top_k": 0}, "top_k"), ({"top_p": 0.0}, "top_p")],
)
def test_odd_options_are_refused(options: dict[str, float], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        SamplingOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", ["bidirectional", "two-stack"])
def test_gaps_are_filled_and_the_rest_is_kept(direction: str) -> None:
    attention = "gated-linear" if direction == "two-stack" else "softmax"
    loaded = load(direction=direction, attention=attention)
    codes = encode_bases(random_dna(300, 5)).copy()
    gaps = [3, *range(100, 140), 299]
    codes[gaps] = 4
    filled = fill_gaps(loaded, codes, FillingOptions(rounds=4))
    known = np.setdiff1d(np.arange(300), gaps)
    assert filled.num_filled == len(gaps)
    assert filled.codes.max() < 4
    assert (filled.codes[known] == codes[known]).all()
    again = fill_gaps(loaded, codes, FillingOptions(rounds=4))
    assert bytes(again.codes) == bytes(filled.codes)
    single = codes.copy()
    single[gaps[1:]] = 0
    one = fill_gaps(loaded, single, FillingOptions(sampling=SamplingOptions(temperature=0)))
    assert one.num_filled == 1
    assert one.log_likelihood < 0


def test_models_do_what_their_direction_allows() -> None:
    with pytest.raises(ConfigError, match="only causal models write"):
        check_writer(load(direction="bidirectional"))
    with pytest.raises(ConfigError, match="sees only the bases before"):
        check_filler(load())
    with pytest.raises(ConfigError, match="longer than one base"):
        check_filler(load("3-mers", direction="bidirectional"))
