"""`CITATION.cff` and licence of a released model."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from genomeformer_cli._version import __version__
from genomeformer_cli.core.errors import InputError, UsageError
from genomeformer_cli.core.templates import render_template

DEFAULT_LICENCE = "apache-2.0"


def write_citation(name: str, licence: str, authors: Sequence[str]) -> str:
    """Return the text of `CITATION.cff`, version 1.2.0.

    Args:
        name: Name of the model.
        licence: SPDX id.
        authors: Names of the authors; empty for unnamed authors.
    """
    return render_template(
        "CITATION.cff",
        name=name,
        authors=authors or [f"The authors of {name}"],
        licence="Apache-2.0" if licence == DEFAULT_LICENCE else licence,
        version=__version__,
    )


def licence_text(licence: str, file: Path | None) -> str:
    """Return the text of a licence.

    Args:
        licence: SPDX id.
        file: File with the text; None for the copy in the package.

    Raises:
        UsageError: The package has no copy of the licence, and no file is given.
        InputError: The file cannot be read.
    """
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as failure:
            raise InputError(f"the licence `{file}` cannot be read: {failure}") from failure
    if licence != DEFAULT_LICENCE:
        raise UsageError(
            f"the text of the licence `{licence}` is not part of this package",
            hint="give it with `--license-file`",
        )
    text = resources.files("genomeformer_cli").joinpath("assets", "release", "LICENSE")
    return text.read_text(encoding="utf-8")
