"""Embedders by name: `package.module:function` on the command line."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from convostore.errors import ValidationError
from convostore.operations.reembedding import Embedder


def loaded_embedder(name: str) -> Embedder:
    """Import an embedder.

    Raises:
        ValidationError: there is none of that name.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, "")  # as with `python -m`, the embedder may be in the working directory
    try:
        found: Any = import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValidationError(f"embedder: {name} cannot be imported as package.module:function") from error
    finally:
        sys.path.remove("")
    embedder: Embedder = found
    return embedder
