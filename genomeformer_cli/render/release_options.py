"""The options of `genomeformer release`, in five panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

_WEIGHTS, _CARD, _BUNDLE, _SHARE, _CHECK = (
    "Weights",
    "Card",
    "Bundle",
    "Sharing",
    "Checking",
)

SourceArgument = Annotated[
    str | None,
    Argument(
        help="A finished run in the cache, or the folder of one of its checkpoints; or a bundle, "
        "`default`, `weights/NAME` or its folder, that is to be copied, signed, packed or sent.",
        metavar="RUN",
        show_default=False,
    ),
]
NameOption = Annotated[
    str | None,
    Option(
        help="Name of the released model; default: the run's.",
        show_default=False,
        rich_help_panel=_BUNDLE,
    ),
]
OutputOption = Annotated[
    Path | None,
    Option("-o", "--output", help="Also write the bundle to this folder.", rich_help_panel=_BUNDLE),
]
ReplaceOption = Annotated[
    bool,
    Option(
        "--replace",
        help="Replace a released model of the same name in the cache.",
        rich_help_panel=_BUNDLE,
    ),
]
OnnxOption = Annotated[
    bool,
    Option(
        "--onnx",
        help="Add `model.onnx`, compared with the model by onnxruntime; the extra `onnx`.",
        rich_help_panel=_BUNDLE,
    ),
]
WeightsOption = Annotated[
    Literal["auto", "last", "average"],
    Option(
        help="The last weights, or their average (`training.ema`); `auto` takes the set that "
        "predicts held-out bases better.",
        rich_help_panel=_WEIGHTS,
    ),
]
DtypeOption = Annotated[
    Literal["fp32", "bf16", "fp16"],
    Option(
        help="How weights are stored; they are computed with as float32.", rich_help_panel=_WEIGHTS
    ),
]
QuantizeOption = Annotated[
    Literal["int8"] | None,
    Option(
        help="Store matrices in eight bits with a scale a row; refused if held-out bases are "
        "answered worse by more than 0.002 bits.",
        show_default=False,
        rich_help_panel=_WEIGHTS,
    ),
]
LayersOption = Annotated[
    str,
    Option(
        help="Whose features `embed` is to take by itself, as its `--layers` names them.",
        rich_help_panel=_WEIGHTS,
    ),
]
EvaluationOption = Annotated[
    list[Path] | None,
    Option(
        help="A folder that `evaluate` wrote, whose numbers and pictures the card is to show; "
        "may be given several times.",
        show_default=False,
        rich_help_panel=_CARD,
    ),
]
NotesOption = Annotated[
    Path | None,
    Option(help="Markdown that the card ends with.", show_default=False, rich_help_panel=_CARD),
]
AuthorOption = Annotated[
    list[str] | None,
    Option(
        help="Who is to be cited; may be given several times.",
        show_default=False,
        rich_help_panel=_CARD,
    ),
]
LicenseOption = Annotated[
    str,
    Option(
        "--license",
        help="SPDX id of the licence of the weights.",
        metavar="ID",
        rich_help_panel=_CARD,
    ),
]
LicenseFileOption = Annotated[
    Path | None,
    Option(help="Its text, unless it is Apache-2.0.", show_default=False, rich_help_panel=_CARD),
]
SignOption = Annotated[
    Path | None,
    Option(
        help="Sign with this Ed25519 private key (PEM or OpenSSH); the extra `sign`.",
        metavar="KEY",
        show_default=False,
        rich_help_panel=_SHARE,
    ),
]
ArchiveOption = Annotated[
    Path | None,
    Option(help="Pack the bundle into this `.tar.gz`.", show_default=False, rich_help_panel=_SHARE),
]
PushOption = Annotated[
    str | None,
    Option(
        help="Send it to this repository on the Hub; private, and with the token of `HF_TOKEN` or "
        "`hf auth login`.",
        metavar="ORG/NAME",
        show_default=False,
        rich_help_panel=_SHARE,
    ),
]
PublicOption = Annotated[
    bool,
    Option("--public", help="With `--push`: let everybody see it.", rich_help_panel=_SHARE),
]
DryRunOption = Annotated[
    bool,
    Option(
        "--dry-run",
        help="With `--push`: make the bundle, send nothing, say what would be sent.",
        rich_help_panel=_SHARE,
    ),
]
VerifyOption = Annotated[
    str | None,
    Option(
        help="Check a bundle, given as `--model` takes it: files, checksums, that it loads.",
        metavar="BUNDLE",
        show_default=False,
        rich_help_panel=_CHECK,
    ),
]
KeyOption = Annotated[
    Path | None,
    Option(
        help="With `--verify`: the Ed25519 public key that it must be signed with.",
        show_default=False,
        rich_help_panel=_CHECK,
    ),
]
