import asyncio
from uuid import uuid4

from convostore import open_stores
from convostore.models import Channel


async def main() -> None:
    tenant, agent, email = uuid4(), uuid4(), "ann@example.com"
    async with open_stores() as stores:
        ann = await stores.profiles.get_or_create(tenant, Channel.EMAIL, email)
        session, created = await stores.sessions.get_or_create(tenant, agent, Channel.EMAIL, email)
        session.customer_profile_id = ann.id
        print(created, await stores.sessions.save(session), session)


asyncio.run(main())
