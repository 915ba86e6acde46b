"""Models of other authors at their published sizes: `embed` beside a plain loop of `transformers`.

Both sides have random weights and embed the same sequences of 100 to 2,000 bases by the mean of the
last layer, on one thread. Ours tokenizes and batches as `embed` does. The other side is the stock
class, or the stock class that is nearest in shape, in batches of one size in input order, padded to
their longest row, with an attention mask; its tokens are ready. Each runs in a process of its own,
one after the other: CPU seconds of that process, and the peak of its memory above the loaded model.

python benchmarks/foreign.py                                  # every family: an hour on one core
python benchmarks/foreign.py --family dnabert2 --sequences 60 --depth 3     # a minute
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from foreign_shapes import SEED, Shape, shapes
from torch import Tensor

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.memory_plans.memory_meter import bytes_in_use, forget_peak, peak_bytes
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.families.protocol import Family
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.registry import build_model, find_family
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

ROOT = Path(__file__).parents[1]
SHORTEST, LONGEST = 100, 2_000
CPU = torch.device("cpu")
DEPTHS = ("num_hidden_layers", "n_layer")


def cut_depth(settings: dict[str, Any], depth: int | None) -> dict[str, Any]:
    """Return settings with fewer layers, for a short run."""
    changed = {key: depth for key in DEPTHS if key in settings and depth is not None}
    types = settings.get("layer_types")
    return {**settings, **changed, **({"layer_types": types[:depth]} if types and depth else {})}


def write_folder(shape: Shape, folder: Path, depth: int | None) -> None:
    """Write configuration and tokenizer in the layout of the authors, without weights."""
    num_tokens = shape.tokenizer(folder)
    document = cut_depth(shape.document, depth)
    (folder / "config.json").write_text(json.dumps({**document, "vocab_size": num_tokens}))


@dataclass(frozen=True, kw_only=True)
class Published:
    """Family and tokenizer of a folder without weights."""

    document: dict[str, Any]
    family: Family
    tokenizer: Tokenizer
    frame: Frame


def read_folder(folder: Path) -> Published:
    """Read family and tokenizer of a folder."""
    document = json.loads((folder / "config.json").read_text())
    family = find_family(document)
    tokenizer = family.read_tokenizer(folder, document)
    frame = Frame(pad_id=tokenizer.pad_id, prefix=tokenizer.prefix_ids, suffix=tokenizer.suffix_ids)
    return Published(document=document, family=family, tokenizer=tokenizer, frame=frame)


def sequences(number: int) -> list[Codes]:
    """Return random bases of lengths that are drawn evenly between the limits."""
    rng = np.random.default_rng(SEED)
    lengths = rng.integers(SHORTEST, LONGEST + 1, number)
    return [rng.integers(0, 4, length).astype(np.uint8) for length in lengths]


def embed_ours(published: Published, folder: Path, rows: list[Codes]) -> dict[str, float]:
    """Measure `Embedder` with its defaults."""
    config = published.family.read_config(published.document, published.frame)
    model = build_model(config, seed=SEED).eval()
    loaded = LoadedModel(
        model=model, tokenizer=published.tokenizer, folder=folder, layers=published.family.layers
    )
    embedder = Embedder(loaded, EmbedOptions())
    return measured(lambda: embedder.embed(rows), model)


def embed_stock(
    published: Published, shape: Shape, rows: list[Codes], batch: int, depth: int | None
) -> dict[str, float]:
    """Measure a loop over padded batches of a class of `transformers`."""
    import transformers

    tokenizer, frame = published.tokenizer, published.frame
    sizes = {**cut_depth(shape.stand_in, depth), "vocab_size": published.document["vocab_size"]}
    config = getattr(transformers, f"{shape.stock}Config")(**sizes)
    torch.manual_seed(SEED)
    model = getattr(transformers, f"{shape.stock}Model")(config).eval()
    longest = sizes.get("max_position_embeddings", sizes.get("n_positions", 1 << 30)) - 2
    # Cut into windows without overlap where the model has fewer positions.
    windows = [
        np.concatenate(
            (frame.prefix, ids[start : start + longest - frame.size], frame.suffix)
        ).astype(np.int64)
        for ids in map(tokenizer.encode, rows)
        for start in range(0, ids.size, longest - frame.size)
    ]

    @torch.inference_mode()
    def loop() -> None:
        for first in range(0, len(windows), batch):
            part = [
                torch.from_numpy(ids.astype(np.int64)) for ids in windows[first : first + batch]
            ]
            tokens_BL = torch.nn.utils.rnn.pad_sequence(
                part, batch_first=True, padding_value=frame.pad_id
            )
            sizes_B = torch.tensor([len(ids) for ids in part])
            mask_BL = (torch.arange(tokens_BL.shape[1]) < sizes_B[:, None]).long()
            features: Tensor = model(input_ids=tokens_BL, attention_mask=mask_BL)[0]
            weights_BL1 = mask_BL[..., None]
            (features * weights_BL1).sum(1).div(weights_BL1.sum(1)).numpy()

    return measured(loop, model)


def measured(work: Callable[[], object], model: torch.nn.Module) -> dict[str, float]:
    """Call a function, and return its cost and the size of the model."""
    before = bytes_in_use(CPU)
    forget_peak(CPU)
    started = time.process_time()
    work()
    return {
        "seconds": time.process_time() - started,
        "megabytes": (peak_bytes(CPU) - before) / 1e6,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def child(options: argparse.Namespace) -> None:
    """Measure one side in this process."""
    torch.set_num_threads(1)
    published = read_folder(options.folder)
    rows = sequences(options.sequences)
    if options.side == "ours":
        result = embed_ours(published, options.folder, rows)
    else:
        shape = shapes()[options.family[0]]
        result = embed_stock(published, shape, rows, options.batch, options.depth)
    sys.stdout.write(json.dumps(result))


def measure(name: str, side: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Measure one side in a process of its own."""
    line = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    line += ["--family", name, "--sequences", str(options.sequences), "--batch", str(options.batch)]
    line += [] if options.depth is None else ["--depth", str(options.depth)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def table_row(name: str, shape: Shape, options: argparse.Namespace) -> str:
    """Measure both sides of a family, one after the other."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_folder(shape, folder, options.depth)
        ours = measure(name, "ours", folder, options)
        stock = measure(name, "stock", folder, options) if shape.stock else None
    peer = ["-"] * 4
    if stock is not None:
        difference = f" ({shape.note})" if shape.note else ""
        peer = [
            f"{shape.stock}Model{difference}",
            f"{stock['seconds']:.1f}",
            f"{stock['seconds'] / ours['seconds']:.2f}",
            f"{stock['megabytes']:,.0f}",
        ]
    cells = [
        name,
        shape.model,
        f"{ours['parameters'] / 1e6:,.1f} M",
        f"{ours['seconds']:.1f}",
        f"{ours['megabytes']:,.0f}",
        *peer,
    ]
    return "| " + " | ".join(cells) + " |"


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--family", action="append", help="family to measure; may be repeated")
    parser.add_argument("--sequences", type=int, default=500)
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch of the other side")
    parser.add_argument("--depth", type=int, help="layers, for a short run")
    parser.add_argument("--side", choices=("ours", "stock"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print a table in Markdown, one row per family."""
    options = parse()
    if options.side is not None:
        child(options)
        return
    known = shapes()
    names = options.family or list(known)
    unknown = sorted({*names} - {*known})
    if unknown:
        raise SystemExit(f"unknown family `{unknown[0]}`; known: {', '.join(known)}")
    headings = ["family", "model", "parameters", "CPU s", "MB above the model"]
    headings += ["plain padded loop", "CPU s", "times slower", "MB above the model"]
    print("| " + " | ".join(headings) + " |")
    print("|" + " --- |" * len(headings))
    for name in names:
        print(table_row(name, known[name], options), flush=True)


if __name__ == "__main__":
    main()
