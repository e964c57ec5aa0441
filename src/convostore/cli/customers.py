"""What `convostore inspect` shows of customers: profiles with their history, and timelines."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

from convostore.cli.cursors import PROFILES, no_cursor, packed, unpacked
from convostore.cli.looking import Looking
from convostore.cli.output import Row, show
from convostore.cli.views import Opened
from convostore.contracts import ProfileStore
from convostore.errors import NotFoundError, ValidationError
from convostore.models import Channel, CustomerProfile, ProfileField, Session, TurnRecord
from convostore.operations.timeline import Entry, EntryKind, Position, timeline

_PAST = 1_000


async def show_profiles(opened: Opened, tenant: UUID, limit: int, after: str | None, *, as_json: bool) -> bool:
    """Show a tenant's profiles."""
    async with opened as look:
        page = await look.stores.profiles.list_profiles(tenant, limit=limit, after=PROFILES.item(after, tenant))
    show({"profiles": [_row(profile) for profile in page], "after": PROFILES.behind(page, limit)}, as_json=as_json)
    return True


async def show_profile(opened: Opened, tenant: UUID, name: str, *, as_json: bool) -> bool:
    """Show one profile with the history of its fields."""
    async with opened as look:
        profile = await _found(look.stores.profiles, tenant, name)
        histories = await asyncio.gather(
            *(
                look.stores.profiles.get_field_history(tenant, profile.id, field, limit=_PAST)
                for field in sorted(profile.fields)
            )
        )
        await look.note("profile", tenant, about=profile.id, customer=profile.id)
        sections = {
            "profile": _row(profile),
            "identities": [
                {
                    "channel": each.channel,
                    "user": look.content(each.channel_user_id),
                    "primary": each.primary,
                    "verified": each.verified,
                    "linked_at": each.linked_at,
                }
                for each in profile.channel_identities
            ],
            "fields": [_field(look, field) for history in histories for field in history],
            "assets": [
                {
                    "name": look.content(each.name),
                    "type": each.asset_type,
                    "status": each.status,
                    "verified": each.verified,
                    "bytes": each.size_bytes,
                    "path": look.content(each.storage_path),
                    "uploaded_at": each.uploaded_at,
                    "session": each.uploaded_in_session_id,
                }
                for each in profile.assets
            ],
            "consents": [
                {
                    "type": each.consent_type,
                    "granted": each.granted,
                    "granted_at": each.granted_at,
                    "revoked_at": each.revoked_at,
                    "session": each.source_session_id,
                }
                for each in profile.consents
            ],
        }
    show(sections, as_json=as_json)
    return True


async def show_timeline(
    opened: Opened, tenant: UUID, name: str, limit: int, after: str | None, *, as_json: bool
) -> bool:
    """Show what happened with a customer."""
    behind = _position(after) if after else None
    async with opened as look:
        stores, profile = look.stores, await _found(look.stores.profiles, tenant, name)
        entries = await timeline(stores.sessions, stores.audit, tenant, profile.id, after=behind, limit=limit)
        if entries:
            await look.note("timeline", tenant, about=profile.id, customer=profile.id)
        rows = [_entry(look, entry) for entry in entries]
    cursor = packed([*entries[-1].position]) if len(entries) == limit else None
    show({"timeline": rows, "after": cursor}, as_json=as_json)
    return True


async def _found(profiles: ProfileStore, tenant: UUID, name: str) -> CustomerProfile:
    channel, colon, user = name.partition(":")
    if colon:
        if channel not in [*Channel]:
            raise ValidationError(f"profile: {channel} is no channel; they are {', '.join(Channel)}")
        profile = await profiles.get_by_channel_identity(tenant, Channel(channel), user)
    else:
        try:
            wanted = UUID(name)
        except ValueError:
            raise ValidationError("profile: is neither an id nor an identity such as email:ann@example.com") from None
        profile = await profiles.get_profile(tenant, wanted) or await profiles.get_by_customer_id(tenant, wanted)
    if profile is None:
        raise NotFoundError("The tenant has no such profile.")
    return profile


def _row(profile: CustomerProfile) -> Row:
    return {
        "id": profile.id,
        "customer_id": profile.customer_id,
        "verification": profile.verification_level,
        "fields": len(profile.fields),
        "channels": ", ".join(sorted({identity.channel for identity in profile.channel_identities})),
        "revision": profile.revision,
        "created_at": profile.created_at,
        "updated_at": profile.updated_at,
    }


def _field(look: Looking, field: ProfileField) -> Row:
    return {
        "name": field.name,
        "value": look.content(field.value),
        "status": field.status,
        "source": field.source,
        "session": field.source_session_id,
        "confidence": field.confidence,
        "verified": field.verified,
        "verified_by": field.verified_by,
        "collected_at": field.collected_at,
        "superseded_at": field.superseded_at,
        "expires_at": field.expires_at,
    }


def _entry(look: Looking, entry: Entry) -> Row:
    (at, kind, key), item = entry
    content: Any = None
    if isinstance(item, Session):
        what = f"{item.channel}, {item.status}, {item.turn_count} turns"
    elif isinstance(item, TurnRecord):
        what, content = f"turn {item.turn_number}", look.content(f"{item.user_message} → {item.agent_response}")
    else:
        what, content = item.event_type, look.content(item.event_data)
    return {"at": at, "kind": kind, "what": what, "content": content, "session": item.session_id, "id": key}


def _position(text: str) -> Position:
    at, kind, key = unpacked(text, 3)
    try:
        if kind in get_args(EntryKind):
            return Position(datetime.fromisoformat(at), kind, UUID(key))
    except (TypeError, ValueError, AttributeError):
        pass
    raise no_cursor()
