"""Dictionaries of what sessions have in common: zstd refers to them instead of repeating it in every demoted value."""

from __future__ import annotations

from collections.abc import Iterable

import zstandard

from convostore.errors import ValidationError
from convostore.models import Session

DICTIONARY_SIZE = 32_768
"""Bytes: what some 2,000 sessions are enough for. Measured in docs/howto/demoted-sessions.md."""

LEVEL = 3
"""Of compression: zstd's own default."""

_SIZES = range(1_024, 1_048_577)


def train_dictionary(samples: Iterable[Session], *, size: int = DICTIONARY_SIZE) -> bytes:
    """Return a dictionary for `RedisSessionStore(client, dictionaries=[…])`, the same for the same samples.

    It holds pieces of the samples, in plain text: treat it as you treat the sessions.

    Args:
        samples: sessions as they are when they are demoted, some hundreds or more.
        size: of the dictionary, 1 KiB to 1 MiB; a hundred times as much in samples is ideal.

    Raises:
        ValidationError: the size is out of bounds, or the samples are too few.
    """
    if size not in _SIZES:
        raise ValidationError(f"size: must be {_SIZES[0]:,} to {_SIZES[-1]:,} bytes")
    documents: list[bytes | bytearray | memoryview] = [
        session.model_dump_json(exclude=set(Session.store_managed)).encode() for session in samples
    ]
    try:
        return zstandard.train_dictionary(size, documents).as_bytes()
    except (zstandard.ZstdError, ValueError) as error:
        raise ValidationError(f"samples: {len(documents)} sessions are too few to learn from") from error


def loaded(dictionary: bytes) -> zstandard.ZstdCompressionDict:
    """Return a dictionary ready for use.

    Raises:
        ValidationError: it is not one that was trained; others have no id, by which a value could name it.
    """
    found = zstandard.ZstdCompressionDict(dictionary)
    try:
        found.precompute_compress(level=LEVEL)
    except zstandard.ZstdError as error:
        raise ValidationError("dictionaries: one is damaged") from error
    if found.dict_id() == 0:
        raise ValidationError("dictionaries: only trained ones can be used")
    return found
