"""The commands of the page on looking into the stores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from convostore import open_stores
from convostore.embedded import Embedded
from convostore.models import Channel
from convostore.testing.factories import make_agent, make_episode, make_session, make_turn
from tests.docs.pages import DOCS, titled

SCRIPTS = dict(titled(DOCS / "howto" / "inspect.md"))


async def test_every_command_shows_something_and_content_only_on_demand(engines: Embedded, tmp_path: Path) -> None:
    tenant = uuid4()
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url, sweep_every=0) as stores:
        agent = make_agent(tenant)
        await stores.config.save_agent(agent)
        profile = await stores.profiles.get_or_create(tenant, Channel.EMAIL, "ann@example.com")
        session = make_session(tenant, agent_id=agent.id, customer_profile_id=profile.id)
        await stores.sessions.save(session)
        for number in range(2):
            turn = make_turn(tenant, session_id=session.session_id, customer_profile_id=profile.id, turn_number=number)
            await stores.audit.save_turn(turn)
        await stores.memory.add_episode(make_episode(tenant, agent.id, content="The parcel was late"))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CONVOSTORE_POSTGRES_URL": engines.postgres_dsn,
        "CONVOSTORE_REDIS_URL": engines.redis_url,
        "TENANT": str(tenant),
        "AGENT": str(agent.id),
        "PROFILE": str(profile.id),
        "SESSION": str(session.session_id),
    }

    def run(script: str) -> str:
        command = ["sh", "-euc", SCRIPTS[script]]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    looked = run("look.sh")
    assert len(re.findall("^─+$", looked, re.MULTILINE)) == SCRIPTS["look.sh"].count("\n") + 1 - 2
    assert "ann@example.com" not in looked
    assert run("stats.sh").count("audit_record") == 2
    assert "     1  verified " in run("page.sh")
    assert "ann@example.com" in run("reveal.sh")
