"""Embedders by name: `package.module:function` on the command line."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from convostore.errors import ValidationError
from convostore.operations.reembedding import Embedder, Vectors, embed


def loaded_embedder(name: str) -> Embedder:
    """Import an embedder; a failure of its own is a `ValidationError` that says where, and nothing of the texts.

    Raises:
        ValidationError: there is none of that name.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, "")  # as with `python -m`, the embedder may be in the working directory
    try:
        found: Any = import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(name)
    except Exception as error:
        raise ValidationError(f"embedder: {name} cannot be imported as package.module:function") from error
    finally:
        sys.path.remove("")

    async def embedder(texts: list[str]) -> Vectors:
        try:
            return await embed(found, texts)
        except ValidationError as error:
            raise ValidationError(f"embedder: {name} {str(error).partition(': ')[2]}") from error
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}, line {last.lineno}"
            raise ValidationError(f"embedder: {name} raised {type(error).__name__} in {where}") from error

    return embedder
