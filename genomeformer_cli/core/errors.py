"""The error tree. Every failure a user can cause is one of these: a sentence, a hint, an exit code.

GenomeformerError                exit 1
├── UsageError                   exit 2   an option or argument that cannot be
│   ├── ConfigError              exit 2   a configuration incomplete, unknown or contradictory
│   ├── NothingMatchedError      exit 2   a query to which nothing answers
│   └── AmbiguousTaxonError      exit 2   a name that several taxa share
├── InputError                   exit 1   a file or sequence that cannot be used
│   ├── FormatError                       a file that is damaged, not text, or of another format
│   │   ├── FastaError                    not FASTA or FASTQ, damaged, empty
│   │   └── AnnotationError               not GFF3 or GenBank, or of other sequences
│   └── AlphabetError                     a character that is no nucleotide code
├── StoreError                   exit 1   the local cache, or any file we write
│   ├── NotInCacheError                   a name the cache does not hold
│   ├── EntryExistsError                  the name is taken by other content
│   └── CorruptError                      a checksum that does not match
├── NetworkError                 exit 75  a host that is down or keeps failing; a rerun goes on
│   └── RefusedError             exit 75  an answer that asking again will not change
├── PartialError                 exit 3   some of many could not be had; the rest is there
├── MissingExtraError            exit 1   an optional package that is not installed
├── CheckpointError              exit 1   weights or training state that cannot be loaded
└── TrainingError                exit 1   a run that cannot start or go on
    └── LostProcessError         exit 75  another process of the run ended; a rerun goes on
"""

from __future__ import annotations

from typing import ClassVar


class GenomeformerError(Exception):
    """Base of all errors shown to the user as one sentence and a hint.

    Args:
        message: What went wrong and where, one sentence without a full stop.
        hint: What to do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GenomeformerError):
    """An option or argument that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that is incomplete, unknown or contradictory."""


class NothingMatchedError(UsageError):
    """A query to which nothing answers."""


class AmbiguousTaxonError(UsageError):
    """A name that several taxa share."""


class InputError(GenomeformerError):
    """A file or sequence that cannot be used."""


class FormatError(InputError):
    """A file that is damaged, not text, or of another format."""


class FastaError(FormatError):
    """Not FASTA or FASTQ, damaged, or empty."""


class AnnotationError(FormatError):
    """Not GFF3 or GenBank, damaged, or of other sequences."""


class AlphabetError(InputError):
    """A character that is no nucleotide code."""


class StoreError(GenomeformerError):
    """The local cache, or any file we write."""


class NotInCacheError(StoreError):
    """A name the cache does not hold."""


class EntryExistsError(StoreError):
    """The name is taken by other content."""


class CorruptError(StoreError):
    """A checksum that does not match."""


class NetworkError(GenomeformerError):
    """A host that is down or keeps failing; running the command again goes on where it stopped."""

    exit_code = 75


class RefusedError(NetworkError):
    """An answer that asking again will not change.

    Args:
        message: What was asked and what was answered.
        status: The HTTP status.
        hint: What to do next.
    """

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class PartialError(GenomeformerError):
    """Some of many could not be had; the rest is there."""

    exit_code = 3


class MissingExtraError(GenomeformerError):
    """An optional package that is not installed."""


class CheckpointError(GenomeformerError):
    """Weights or training state that cannot be loaded."""


class TrainingError(GenomeformerError):
    """A run that cannot start or go on."""


class LostProcessError(TrainingError):
    """Another process of the run ended; starting all of them again goes on from the checkpoint."""

    exit_code = 75
