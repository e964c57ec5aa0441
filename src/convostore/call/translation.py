"""Translation: whatever a backend raises becomes one of the five errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convostore.call.call import Call, Proceed
from convostore.errors import ConnectionError, StoreError

Translator = Callable[[Exception], StoreError]
"""Returns the error of the vocabulary that a driver's error means."""


class Translate:
    """Raises driver errors as store errors, with the driver's as their cause.

    Args:
        translator: knows the backend's errors.
    """

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run the call."""
        try:
            return await proceed(call)
        except StoreError:
            raise
        except Exception as failure:
            raise self._translator(failure) from failure


def translated(error: Exception) -> StoreError:
    """Return what an error means that no driver defines: of the operating system, or of our own making."""
    if isinstance(error, TimeoutError):
        return ConnectionError("The backend did not answer in time.", outcome="unknown", code="timeout")
    if isinstance(error, OSError | EOFError):
        return ConnectionError("The backend could not be reached.", outcome="unknown", code=type(error).__name__)
    return StoreError(f"The call failed unexpectedly ({type(error).__name__}).", outcome="unknown")
