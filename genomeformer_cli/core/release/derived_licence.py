"""Licence of a fine-tuned model: that of its base, on the card and in the file `LICENSE`.

A licence that the base does not state must be given when the model is shared, by
`release --license`.
"""

from __future__ import annotations

import re
from pathlib import Path

from genomeformer_cli.core.errors import CheckpointError, UsageError
from genomeformer_cli.core.finetuning.base_model import (
    BaseModel,
    card_licence,
    is_non_commercial,
    read_base,
)
from genomeformer_cli.core.model_io.bundle_layout import CARD_FILE, LICENCE_FILE, is_finetuned
from genomeformer_cli.core.release.citation import DEFAULT_LICENCE, licence_text
from genomeformer_cli.core.release.leak_check import check_privacy
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.templates import render_template, yaml_string

_SECTION, _NEXT = "## Licence\n", "\n## "
_LICENCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
# Version of a Creative Commons licence: its text is at an address that contains both parts.
_CREATIVE_COMMONS = re.compile(r"cc-(by[a-z-]*)-(\d\.\d)")


def derived_licence(base: BaseModel) -> str | None:
    """Return the licence of a model that is fine-tuned from a base; None: not stated.

    Models that this program trained have its default licence unless they state another.
    """
    return base.licence or (DEFAULT_LICENCE if base.is_own else None)


def licence_head(licence: str | None) -> str:
    """Return the lines of a licence in the front matter of a card."""
    if licence is None:
        return "license: other\nlicense_name: unknown"
    return f"license: {yaml_string(licence)}"


def licence_section(base: BaseModel, stated: str | None = None) -> str:
    """Return the section of a card on the licence.

    Args:
        base: Model before fine-tuning.
        stated: Licence that was given at the release.
    """
    licence = stated or derived_licence(base)
    return render_template(
        "finetuned_licence.md",
        base=base,
        licence=licence,
        stated=stated is not None,
        non_commercial=licence is not None and is_non_commercial(licence),
    )


def derived_licence_text(base: BaseModel, base_file: Path) -> str:
    """Return the contents of `LICENSE`: the text in the base's folder, or a notice.

    Args:
        base: Model before fine-tuning.
        base_file: Licence file of the base, which may be missing.
    """
    if base_file.is_file():
        return base_file.read_text(encoding="utf-8", errors="replace")
    licence = derived_licence(base)
    if licence == DEFAULT_LICENCE:
        return licence_text(licence, None)
    return _notice(base, licence)


def _notice(base: BaseModel, licence: str | None) -> str:
    if licence is None:
        return (
            f"This model is fine-tuned from {base.address}, which states no licence.\n"
            "Nothing is granted here before its licence is known.\n"
        )
    text = f"This model is fine-tuned from {base.address} and carries its licence: {licence}.\n"
    common = _CREATIVE_COMMONS.fullmatch(licence)
    if common is not None:
        text += (
            f"Its text: https://creativecommons.org/licenses/{common[1]}/{common[2]}/legalcode\n"
        )
    return text


def report_licence(base: BaseModel, reporter: Reporter) -> None:
    """Warn if the licence of a base is not known, or forbids commercial use."""
    licence = derived_licence(base)
    if licence is None:
        reporter.warn(
            f"the licence of `{base.address}` is not known: look it up before you share the "
            "fine-tuned model"
        )
    elif is_non_commercial(licence):
        reporter.warn(
            f"the licence of `{base.address}` is `{licence}`: the fine-tuned model carries it, and "
            "allows no commercial use"
        )


def check_shareable(folder: Path) -> None:
    """Check, before a fine-tuned model is shared, its licence, and that it reveals nothing private.

    Raises:
        UsageError: The base model states no licence, and none was given.
        CheckpointError: A path of this machine or the name of its user occurs.
    """
    if not is_finetuned(folder):
        return
    check_privacy(folder)
    base = read_base(folder)
    if base is not None and card_licence(folder) is None:
        raise UsageError(
            f"the licence of `{base.address}`, from which the model was fine-tuned, is not known",
            hint="look it up, and state it in a copy: `release BUNDLE --license ID -o FOLDER`",
        )


def check_statement(folder: Path, licence: str, file: Path | None) -> str:
    """Return the text of the licence that is stated for a fine-tuned model.

    Raises:
        UsageError: The id is invalid, the model carries the licence of its base, or a text is
            needed.
        CheckpointError: The bundle does not name its base.
    """
    base = read_base(folder)
    if base is None:
        raise CheckpointError(
            f"the bundle `{folder.name}` does not name the model before fine-tuning",
            hint="make it again with `genomeformer finetune`",
        )
    if _LICENCE_ID.fullmatch(licence) is None:
        raise UsageError(
            f"invalid licence id `{licence}`", hint="an SPDX id, such as `mit` or `cc-by-nc-4.0`"
        )
    if base.licence not in (None, licence.lower()):
        raise UsageError(
            f"the model carries the licence `{base.licence}` of its base `{base.address}`, not "
            f"`{licence}`",
            hint="leave `--license` out",
        )
    if file is None and _CREATIVE_COMMONS.fullmatch(licence.lower()):
        return _notice(base, licence.lower())
    return licence_text(licence.lower(), file)


def state_licence(folder: Path, licence: str, text: str) -> None:
    """Write a licence on the card and into `LICENSE` of a bundle, which the caller seals."""
    base = read_base(folder)
    assert base is not None
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    other_lines = [line for line in head.splitlines() if not line.startswith("license")]
    head = "\n".join([licence_head(licence.lower()), *other_lines])
    before, _, rest = body.partition(_SECTION)
    _, following, after = rest.partition(_NEXT)
    section = licence_section(base, stated=licence.lower())
    card = f"---\n{head}\n---\n{before}{section.rstrip()}\n{following}{after}"
    write_text(folder / CARD_FILE, card)
    write_text(folder / LICENCE_FILE, text)
