"""Faults for tests: a proxy that disturbs what passes to a server, and answers that are lost after a call has run.

`proxy_to` stands between a driver and a real server; `LostAnswers` needs no server and disturbs any store.
"""

from convostore.testing.faults.answers import LostAnswers, around_attempts
from convostore.testing.faults.proxy import Flow, Proxy, proxy_to

__all__ = ["Flow", "LostAnswers", "Proxy", "around_attempts", "proxy_to"]
