"""The pages on servers of one's own and on TLS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convostore import open_stores
from convostore.embedded import Embedded
from convostore.embedded.binaries import postgres_programs
from convostore.errors import ValidationError
from convostore.postgres.pool import connect_arguments
from convostore.redis import create_client
from convostore.settings import load_settings
from tests.docs.pages import DOCS, titled
from tests.postgres.databases import connected, dsn_of

SCRIPTS = dict(titled(DOCS / "howto" / "own-servers.md"))
FILES = re.findall(r"\b(ssl\w+)=/", (DOCS / "howto" / "tls.md").read_text("utf-8"))

OPENED: list[Callable[[str], object]] = [
    lambda options: connect_arguments(f"postgresql://db/shop{options}"),
    lambda options: create_client(f"rediss://cache{options}"),
]
"""What opens PostgreSQL, and what Redis, by a URL with these options."""


def run(script: str, **variables: str) -> None:
    path = f"{postgres_programs(18)}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    done = subprocess.run(["sh", "-euc", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_what_is_prepared_is_enough_for_an_application(engines: Embedded) -> None:
    database = dsn_of(engines.postgres_dsn, database="shop")
    async with connected(engines.postgres_dsn) as admin:
        try:
            run(SCRIPTS["prepare.sh"], SERVER=dsn_of(engines.postgres_dsn, database="postgres"), DATABASE=database)
            application = dsn_of(database, user="shop_app")
            async with open_stores(
                postgres_url=application, redis_url=engines.redis_url, embedded=False, sweep_every=0
            ) as stores:
                assert (await stores.health()).ok
        finally:
            await admin.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
            await admin.execute("DROP ROLE IF EXISTS shop_app")


def test_the_environment_is_settings() -> None:
    exported = re.findall(r'^export CONVOSTORE_(\w+)="?([^"\n]+)"?$', SCRIPTS["environment.sh"], re.MULTILINE)
    assert load_settings({name.lower(): value for name, value in exported}).embedded is False


@pytest.mark.parametrize("parameter", FILES)
def test_every_file_that_the_page_on_tls_names_is_read(parameter: str) -> None:
    mode = "verify-full" if parameter == "sslrootcert" else "require"
    options = {"sslmode": mode, "sslcert": "/nowhere.pem", parameter: "/nowhere.pem"}
    with pytest.raises(ValidationError, match=f"cannot read .*{parameter}="):
        OPENED[parameter.startswith("ssl_")]("?" + "&".join(f"{name}={value}" for name, value in options.items()))
