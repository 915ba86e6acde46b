"""`CITATION.cff` of a released model, and the licence that lies beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from genomeformer_cli._version import __version__
from genomeformer_cli.core.errors import InputError, UsageError

DEFAULT_LICENCE = "apache-2.0"


def write_citation(name: str, licence: str, authors: Sequence[str]) -> str:
    """The text of `CITATION.cff`, version 1.2.0; strings as JSON, which is YAML too.

    Args:
        name: Of the model.
        licence: SPDX id.
        authors: As they are to be called; none: those of the model, unnamed.
    """
    people = authors or [f"The authors of {name}"]
    listed = "\n".join(f"  - name: {json.dumps(one, ensure_ascii=False)}" for one in people)
    spdx = "Apache-2.0" if licence == DEFAULT_LICENCE else licence
    return f"""cff-version: 1.2.0
message: If you use this model, please cite it as below.
type: software
title: {json.dumps(name)}
authors:
{listed}
license: {json.dumps(spdx)}
references:
  - type: software
    title: "genomeformer: from genomes to a released genome language model"
    version: {json.dumps(__version__)}
    authors:
      - name: The genomeformer authors
"""


def licence_text(licence: str, file: Path | None) -> str:
    """The text of the licence.

    Raises:
        UsageError: The package has no text of it, and none was given.
        InputError: The text that was given cannot be read.
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
