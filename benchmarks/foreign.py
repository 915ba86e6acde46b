"""Models of other authors at their published sizes: `embed` beside a plain loop of `transformers`.

Both sides have random weights and embed the same sequences of 100 to 2,000 bases by the mean of the
last layer, on one thread. Ours tokenizes and batches as `embed` does. The other side is the stock
class, or the stock class that is nearest in shape, in batches of one size in input order, padded to
their longest row, with an attention mask; its tokens are ready. Each runs in a process of its own,
one after the other: CPU seconds of that process, and the peak of its memory above the loaded model.

python -m benchmarks.foreign                                  # every family: an hour on one core
python -m benchmarks.foreign --family dnabert2 --sequences 60 --depth 3     # a minute
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
RECORDED = ROOT / "tests" / "data" / "architectures"
SHORTEST, LONGEST, SEED = 100, 2_000, 0
CPU = torch.device("cpu")
BASES = "ACGT"
Writer = Callable[[Path], int]


def write_lines(folder: Path, tokens: list[str]) -> int:
    """Write `vocab.txt`, and return the number of tokens."""
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "tokenizer_config.json").write_text("{}")
    return len(tokens)


def kmers(k: int, order: str) -> list[str]:
    """Return all k-mers in the order of the letters."""
    tokens = [""]
    for _ in range(k):
        tokens = [token + letter for token in tokens for letter in order]
    return tokens


BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def overlapping(folder: Path) -> int:
    """Write the 6-mers of DNABERT."""
    return write_lines(folder, [*BERT, *kmers(6, "ATCG")])


def lca(folder: Path) -> int:
    """Write the 6-mers of ProkBERT."""
    return write_lines(folder, [*BERT, *kmers(6, "ACGT")])


def esm(*last: str) -> Writer:
    """Return the writer of the 6-mers of Nucleotide Transformer, with further tokens at the end."""
    tokens = ["<unk>", "<pad>", "<mask>", "<cls>", *kmers(6, "ATCG"), *"ATCGN", *last]
    return lambda folder: write_lines(folder, tokens)


def byte_pairs(size: int) -> Writer:
    """Byte pairs that are trained on random bases, a vocabulary of the published size."""

    def write(folder: Path) -> int:
        from tokenizers import Tokenizer as Trained
        from tokenizers import models, pre_tokenizers, processors, trainers

        trained = Trained(models.BPE(unk_token="[UNK]"))  # noqa: S106 - a token of text
        trained.pre_tokenizer = pre_tokenizers.Whitespace()
        special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, show_progress=False, max_token_length=12
        )
        rng = np.random.default_rng(SEED)
        rows = ("".join(rng.choice(list(BASES), 2_000)) for _ in range(max(400, size // 8)))
        trained.train_from_iterator(rows, trainer)
        trained.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
        trained.save(str(folder / "tokenizer.json"))
        roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
        (folder / "tokenizer_config.json").write_text(json.dumps(roles))
        return size

    return write


def recorded_files(name: str) -> Writer:
    """Return the writer of a recorded tokenizer, which has the published tokens."""

    def write(folder: Path) -> int:
        for file in RECORDED.joinpath(name).iterdir():
            if file.name.startswith("tokenizer"):
                (folder / file.name).write_bytes(file.read_bytes())
        return int(recorded(name)["vocab_size"])

    return write


def recorded(name: str) -> dict[str, Any]:
    """Return the configuration of a recorded tiny model."""
    document: dict[str, Any] = json.loads((RECORDED / name / "config.json").read_text())
    return document


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Published size of one model."""

    model: str  # Name on the Hub.
    tokenizer: Writer  # Writes the files of the tokenizer.
    document: dict[str, Any]  # `config.json`, but for the number of tokens.
    stock: str | None  # Class of `transformers` for the other side.
    stand_in: dict[str, Any] = field(default_factory=dict)  # Settings of that class.
    note: str = ""  # Difference of the class, if it is not the model's own.


def bert_sizes(width: int, depth: int, heads: int, mlp: int, longest: int) -> dict[str, Any]:
    """Return sizes under the names of BERT."""
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "max_position_embeddings": longest,
    }


def stock_document(kind: str, **settings: Any) -> dict[str, Any]:
    """Return the `config.json` of a stock class, without settings that are the defaults."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(**settings)
    heads = ("ForMaskedLM", "ForCausalLM", "LMHeadModel")
    name = next(kind + head for head in heads if hasattr(transformers, kind + head))
    return {**config.to_diff_dict(), "architectures": [name], "model_type": config.model_type}


BASE = bert_sizes(768, 12, 12, 3_072, 512)
GATED_BASE = bert_sizes(768, 12, 12, 4_608, 512)  # As many multiplications as a gated MLP of 3,072.
NT = {"token_dropout": True, "mask_token_id": 2, "pad_token_id": 1}
ROTARY = {"position_embedding_type": "rotary", "mask_token_id": 2, "pad_token_id": 1}


def nt_v2(depth: int, width: int, mlp: int) -> dict[str, Any]:
    """Return the sizes of a Nucleotide Transformer v2."""
    return bert_sizes(width, depth, 16, mlp, 2_050)


def shapes() -> dict[str, Shape]:
    """Return the models by family; those of more than 600 M parameters are left out."""
    nt_sizes = bert_sizes(1_280, 24, 20, 5_120, 1_002)
    small_nt, large_nt = nt_v2(12, 512, 2_048), nt_v2(29, 1_024, 4_096)
    modern = {
        **bert_sizes(768, 22, 12, 1_152, 8_192),
        **dict.fromkeys(("bos_token_id", "cls_token_id"), 1),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 2),
        "pad_token_id": 3,
    }
    mini = bert_sizes(384, 6, 6, 3_072, 1_024)
    gpt2 = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1_024}
    mamba = {"hidden_size": 768, "num_hidden_layers": 24, "state_size": 16}
    rotary_note = "rotary, plain MLP of as many multiplications"
    return {
        "dnabert": Shape(
            model="DNA_bert_6",
            tokenizer=overlapping,
            document=stock_document("Bert", **BASE),
            stock="Bert",
            stand_in=BASE,
        ),
        "dnabert2": Shape(
            model="DNABERT-2-117M",
            tokenizer=byte_pairs(4_096),
            document={**recorded("dnabert2"), **BASE, "alibi_starting_size": 512},
            stock="Bert",
            stand_in=GATED_BASE | {"max_position_embeddings": 2_048},
            note="no ALiBi, plain MLP of as many multiplications",
        ),
        "gena-lm": Shape(
            model="gena-lm-bert-base",
            tokenizer=byte_pairs(32_000),
            document={**recorded("gena-lm"), **BASE},
            stock="Bert",
            stand_in=BASE,
            note="norms after the layers",
        ),
        "nucleotide-transformer": Shape(
            model="nucleotide-transformer-500m",
            tokenizer=esm(),
            document=stock_document("Esm", **nt_sizes, **NT),
            stock="Esm",
            stand_in={**nt_sizes, **NT},
        ),
        "nucleotide-transformer-v2-50m": Shape(
            model="nucleotide-transformer-v2-50m",
            tokenizer=esm("<eos>", "<bos>"),
            document={**recorded("nucleotide-transformer-v2"), **small_nt},
            stock="Esm",
            stand_in={**small_nt, **ROTARY, "intermediate_size": 3_072},
            note=rotary_note,
        ),
        "nucleotide-transformer-v2-500m": Shape(
            model="nucleotide-transformer-v2-500m",
            tokenizer=esm("<eos>", "<bos>"),
            document={**recorded("nucleotide-transformer-v2"), **large_nt},
            stock="Esm",
            stand_in={**large_nt, **ROTARY, "intermediate_size": 6_144},
            note=rotary_note,
        ),
        "prokbert": Shape(
            model="prokbert-mini",
            tokenizer=lca,
            document={**recorded("prokbert"), **mini},
            stock="MegatronBert",
            stand_in=mini,
            note="no relative keys",
        ),
        "modernbert": Shape(
            model="moderngena-base",
            tokenizer=byte_pairs(32_000),
            document=stock_document("ModernBert", **modern),
            stock="ModernBert",
            stand_in=modern,
        ),
        "gpt2": Shape(
            model="plant-dnagpt-BPE",
            tokenizer=byte_pairs(8_000),
            document=stock_document("GPT2", **gpt2),
            stock="GPT2",
            stand_in=gpt2,
        ),
        "mamba": Shape(
            model="plant-dnamamba-BPE",
            tokenizer=byte_pairs(8_000),
            document=stock_document("Mamba", **mamba),
            stock="Mamba",
            stand_in=mamba,
        ),
        "hyenadna": Shape(
            model="hyenadna-small-32k-seqlen-hf",
            tokenizer=recorded_files("hyenadna"),
            document=recorded("hyenadna")
            | {"d_model": 256, "d_inner": 1_024, "n_layer": 4, "filter_order": 64}
            | {"max_seq_len": 32_770},
            stock=None,
        ),
        "caduceus": Shape(
            model="caduceus-ps_seqlen-131k_d_model-256_n_layer-16",
            tokenizer=recorded_files("caduceus/ps"),
            document=recorded("caduceus/ps")
            | {"d_model": 256, "n_layer": 16, "model_max_length": 131_072}
            | {"ssm_cfg": recorded("caduceus/ps")["ssm_cfg"] | {"d_state": 16, "dt_rank": "auto"}},
            stock=None,
        ),
        "gpn": Shape(
            model="gpn-brassicales",
            tokenizer=recorded_files("gpn"),
            document=recorded("gpn")
            | {"hidden_size": 512, "num_hidden_layers": 25, "intermediate_size": 2_048}
            | {"dilation_cycle": 8, "dilation_double_every": 1, "depthwise": False},
            stock=None,
        ),
    }


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
    line = [sys.executable, "-m", "benchmarks.foreign", "--side", side, "--folder", str(folder)]
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
