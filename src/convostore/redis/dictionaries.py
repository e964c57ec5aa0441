"""zstd dictionaries: what sessions have in common, which demoted values then refer to instead of repeating it."""

from __future__ import annotations

from collections.abc import Iterable

import zstandard

from convostore.domain.sessions import PAYLOAD
from convostore.errors import ValidationError
from convostore.models import Session

DICTIONARY_SIZE = 32_768
"""In bytes; about 2,000 samples fill it. Measured in docs/howto/demoted-sessions.md."""

LEVEL = 3
"""The compression level, zstd's default."""

_SIZES = range(1_024, 1_048_577)


def train_dictionary(samples: Iterable[Session], *, size: int = DICTIONARY_SIZE) -> bytes:
    """Return a dictionary for `RedisSessionStore(client, dictionaries=[…])`; equal samples give equal dictionaries.

    It contains parts of the samples in plain text: protect it like the sessions.

    Args:
        samples: at least some hundreds of idle sessions.
        size: of the dictionary, 1 KiB to 1 MiB; ideally a hundredth of the samples.

    Raises:
        ValidationError: the size is out of bounds, or there are too few samples.
    """
    if size not in _SIZES:
        raise ValidationError(f"size: must be {_SIZES[0]:,} to {_SIZES[-1]:,} bytes")
    documents: list[bytes | bytearray | memoryview] = [PAYLOAD.to_document(session) for session in samples]
    try:
        return zstandard.train_dictionary(size, documents).as_bytes()
    except (zstandard.ZstdError, ValueError) as error:
        raise ValidationError(f"samples: {len(documents)} sessions are too few to learn from") from error


def load_dictionary(dictionary: bytes) -> zstandard.ZstdCompressionDict:
    """Return a dictionary ready for use.

    Raises:
        ValidationError: it is not a trained one; only those have an id, by which a value names its dictionary.
    """
    found = zstandard.ZstdCompressionDict(dictionary)
    try:
        found.precompute_compress(level=LEVEL)
    except zstandard.ZstdError as error:
        raise ValidationError("dictionaries: one is damaged") from error
    if found.dict_id() == 0:
        raise ValidationError("dictionaries: only trained ones can be used")
    return found
