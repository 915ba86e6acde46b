"""What must not leave a machine: where things lay on it, and what its user is called.

Every text of a bundle, the headers of its weights and its ONNX file are looked through. A user's
name is looked for as a word of its own, unless it is one of those that say nothing, or stands in
what the user wanted on the card.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from pathlib import Path

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.bundle_layout import ONNX_FILE, PICTURES, list_files

# Shorter ones stand in any large file by chance.
_READABLE = re.compile(rb"[ -~]{16,}")
_PLACES = re.compile(
    r"(?<![\w.:/\-])(?:/(?:home|Users|root|tmp|var|mnt|media|opt|srv|usr|data|scratch|work|private)"
    r"/[\w.\-]+|[A-Za-z]:\\\\?[\w.\-]+)"
)
# Words that many machines call their users, and that say nothing of anybody.
_NOBODY = {"admin", "docker", "jovyan", "nobody", "root", "runner", "ubuntu", "user", "vscode"}
_SHORTEST_NAME = 3


def check_privacy(folder: Path, *, wanted: str = "") -> None:
    """Look through a bundle for paths of this machine and for the name of its user.

    Args:
        folder: The bundle.
        wanted: What the user asked to stand in it: names of models and authors.

    Raises:
        CheckpointError: There is one.
    """
    names = _user_names(wanted)
    for name in list_files(folder):
        if name.startswith(f"{PICTURES}/"):
            continue
        text = _text_of(folder / name)
        for found in _found_in(text, names):
            raise CheckpointError(
                f"`{name}` would give away `{found}`, which is a path or a user of this machine",
                hint="name models, corpora and genomes without paths, and leave them out of notes",
            )


def _text_of(path: Path) -> str:
    """A text as it is; of numbers in bytes, the stretches that can be read."""
    with path.open("rb") as file:
        if path.suffix == ".safetensors":
            content = file.read(int.from_bytes(file.read(8), "little"))
        elif path.name == ONNX_FILE:
            content = b"\n".join(_READABLE.findall(file.read()))
        else:
            content = file.read()
    return content.decode("utf-8", errors="replace")


def _user_names(wanted: str) -> list[str]:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return []
    known = name in _NOBODY or len(name) < _SHORTEST_NAME or _has_word(wanted, name)
    return [] if known else [name]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _found_in(text: str, names: list[str]) -> Iterator[str]:
    for match in _PLACES.finditer(text):
        yield match.group()
    for place in {str(Path.home()), str(Path.cwd())}:
        # A root such as `/` stands in every URL.
        if len(Path(place).parts) > 2 and place in text:
            yield place
    for name in names:
        if _has_word(text, name):
            yield name
