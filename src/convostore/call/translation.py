"""Translation: whatever a backend raises becomes one of the five errors."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from convostore.call.call import Call, Proceed
from convostore.errors import ConnectionError, StoreError

UNANSWERED = "No answer in time; check host, port and firewall, and whether the server speaks TLS as the URL says."
"""Of a server that one connects to, or asks how it is."""

_ANOTHER_HOST = {62, 64}
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

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


def is_for_another_host(error: BaseException) -> bool:
    """Return whether a server's certificate is trusted, and for another host than the URL's."""
    return isinstance(error, ssl.SSLCertVerificationError) and getattr(error, "verify_code", 0) in _ANOTHER_HOST
