"""Longest-match pieces of one word, as the WordPiece model of the Hugging Face library cuts them.

The library looks for each piece from the end of the word, in cubic time: hours for a gene. The
search here starts at the longest token, and gives equal pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEFAULT_LIMIT = 100


class WordPieces:
    """Vocabulary of pieces.

    Args:
        model: Checked `model` of a `tokenizer.json`, of the type `WordPiece`.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        self._ids: Mapping[str, int] = model["vocab"]
        self._mark = str(model.get("continuing_subword_prefix", "##"))
        self._limit = int(model.get("max_input_chars_per_word", _DEFAULT_LIMIT))
        self._unknown = self._ids[model["unk_token"]]
        self._longest = max(map(len, self._ids))

    def cut(self, word: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a word and the letters of each; one unknown id if it has no pieces."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        start = 0
        while start < len(word) <= self._limit:
            mark = self._mark if start else ""
            for stop in range(min(start + self._longest, len(word)), start, -1):
                number = self._ids.get(mark + word[start:stop])
                if number is not None:
                    ids.append(number)
                    spans.append((start, stop))
                    start = stop
                    break
            else:
                break
        if start < len(word):
            return [self._unknown], [(0, len(word))]
        return ids, spans
