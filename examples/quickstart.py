import asyncio
from uuid import uuid4

from convostore import open_stores
from convostore.models import Channel, Session


async def main() -> None:
    tenant, agent, email = uuid4(), uuid4(), "ann@example.com"
    async with open_stores() as stores:
        ann = await stores.profiles.get_or_create(tenant, Channel.EMAIL, email)
        session = Session(tenant_id=tenant, agent_id=agent, channel=Channel.EMAIL, user_channel_id=email)
        await stores.sessions.save(session)
        print(ann.customer_id, await stores.sessions.get_by_channel(tenant, Channel.EMAIL, email))


asyncio.run(main())
