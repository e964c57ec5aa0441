"""One place between a model and what is stored: a codec per entity, whatever the backend and the tier."""

from convostore.domain.codec.annotations import bare, is_nested, is_optional
from convostore.domain.codec.canonical import canonical, plain, plain_value
from convostore.domain.codec.codec import Codec
from convostore.domain.codec.instances import maker
from convostore.domain.codec.unreadable import Unreadable, readable

__all__ = [
    "Codec",
    "Unreadable",
    "bare",
    "canonical",
    "is_nested",
    "is_optional",
    "maker",
    "plain",
    "plain_value",
    "readable",
]
