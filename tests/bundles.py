"""A very small bundle made by hand, in a moment: nothing trained, everything where it belongs."""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.genomes.lockfile import row_of
from genomeformer_cli.core.model_io.model_folder import LoadedModel, weights_digest
from genomeformer_cli.core.model_io.tensors import MAX_SHARD_BYTES
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.release.bundle import Papers, Weights, write_bundle
from genomeformer_cli.core.release.citation import licence_text, write_citation
from genomeformer_cli.core.release.eval_report import Picture
from genomeformer_cli.core.release.storage import Storage, model_as_stored, stored_tensors
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import genome
from tests.files import png_picture

NAME = "gf-by-hand"
CONFIG = ModelConfig(context=32, width=16, depth=1, num_heads=2, mlp_width=32)


def make_bundle(
    folder: Path,
    *,
    name: str = NAME,
    config: ModelConfig = CONFIG,
    storage: Storage | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> LoadedModel:
    """Write and seal a bundle in a new folder; return the model that it holds."""
    storage = storage or Storage()
    model, tokenizer = build_model(config, seed=0).eval(), CharTokenizer()
    tensors = stored_tensors(model, storage)
    stored = model_as_stored(model, tensors)
    weights = Weights(
        config=config,
        tokenizer=tokenizer,
        tensors=tensors,
        storage=storage,
        digest=weights_digest(stored),
        which="untrained weights",
    )
    papers = Papers(
        name=name,
        card=f"---\nlicense: apache-2.0\n---\n\n# {name}\n",
        results={"name": name, "corpus": "none"},
        train_config="",
        genomes=[row_of(genome("mine", 10), ("record",))],
        citation=write_citation(name, "apache-2.0", []),
        licence="apache-2.0",
        licence_text=licence_text("apache-2.0", None),
        pictures=[Picture(name="loss.png", shows="nothing", content=png_picture())],
    )
    folder.mkdir(parents=True)
    write_bundle(folder, weights, papers, max_shard_bytes=max_shard_bytes)
    seal(folder)
    return LoadedModel(model=stored, tokenizer=tokenizer, folder=folder)
