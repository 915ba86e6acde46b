"""Exceptions. Every failure that a user can cause has a message, a hint and an exit code.

GenomeformerError                exit 1
├── UsageError                   exit 2   invalid option or argument
│   ├── ConfigError              exit 2   incomplete, unknown or contradictory configuration
│   ├── NothingMatchedError      exit 2   query without result
│   └── AmbiguousTaxonError      exit 2   name of several taxa
├── InputError                   exit 1   unusable file or sequence
│   ├── FormatError                       damaged file, not text, or another format
│   │   ├── FastaError                    not FASTA or FASTQ, damaged, or empty
│   │   └── AnnotationError               not GFF3 or GenBank, or of other sequences
│   └── AlphabetError                     character that is not a nucleotide code
├── StoreError                   exit 1   local cache or output file
│   ├── NotInCacheError                   name that is not in the cache
│   ├── EntryExistsError                  name of an entry with other content
│   └── CorruptError                      checksum mismatch
├── NetworkError                 exit 75  unreachable or failing host; a rerun resumes
│   └── RefusedError             exit 75  final refusal of a request
├── PartialError                 exit 3   some of several items failed
├── MissingExtraError            exit 1   optional package not installed
├── CheckpointError              exit 1   unusable weights or training state
└── TrainingError                exit 1   run that cannot start or continue
    └── LostProcessError         exit 75  another process of the run ended; a rerun resumes
"""

from __future__ import annotations

from typing import ClassVar


class GenomeformerError(Exception):
    """Base of all errors shown to the user as one sentence and a hint.

    Args:
        message: Failure and its place, one sentence without a full stop.
        hint: Next step.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GenomeformerError):
    """Invalid option or argument."""

    exit_code = 2


class ConfigError(UsageError):
    """Incomplete, unknown or contradictory configuration."""


class NothingMatchedError(UsageError):
    """Query without result."""


class AmbiguousTaxonError(UsageError):
    """Name of several taxa."""


class InputError(GenomeformerError):
    """Unusable file or sequence."""


class FormatError(InputError):
    """Damaged file, not text, or another format."""


class FastaError(FormatError):
    """Not FASTA or FASTQ, damaged, or empty."""


class AnnotationError(FormatError):
    """Not GFF3 or GenBank, damaged, or of other sequences."""


class AlphabetError(InputError):
    """Character that is not a nucleotide code."""


class StoreError(GenomeformerError):
    """Failure of the local cache or of an output file."""


class NotInCacheError(StoreError):
    """Name that is not in the cache."""


class EntryExistsError(StoreError):
    """Name of an existing entry with other content."""


class CorruptError(StoreError):
    """Checksum mismatch."""


class NetworkError(GenomeformerError):
    """Unreachable or failing host; running the command again resumes the work."""

    exit_code = 75


class RefusedError(NetworkError):
    """Final refusal of a request.

    Args:
        message: Request and response.
        status: HTTP status.
        hint: Next step.
    """

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class PartialError(GenomeformerError):
    """Some of several items failed; the others are complete."""

    exit_code = 3


class MissingExtraError(GenomeformerError):
    """Optional package that is not installed."""


class CheckpointError(GenomeformerError):
    """Unusable weights or training state."""


class TrainingError(GenomeformerError):
    """Run that cannot start or continue."""


class LostProcessError(TrainingError):
    """Another process of the run ended; restarting all of them resumes from the checkpoint."""

    exit_code = 75
