"""What a query selects of a profile `p`: the columns of its model, in their order, and its items as JSON.

`SELECT {{profile}} …` gives rows that the codec of profiles reads. To build JSON from columns that are named takes half
the time of `to_jsonb` without some.
"""

from __future__ import annotations

from convostore.models import ChannelIdentity, CustomerProfile, ProfileAsset, ProfileField
from convostore.models.base import Model
from convostore.postgres.mapping import quoted


def _items(model: type[Model], table: str, where: str, *, by_name: bool = False) -> str:
    """Return a subquery for items of a model, as a JSON array or an object by name."""
    columns = ", ".join(f"t.{quoted(name)}" for name in model.model_fields)
    aggregated = "json_object_agg(item.name, item), '{}'" if by_name else "json_agg(item), '[]'"
    return (
        f"(SELECT coalesce({aggregated}) FROM (SELECT {columns} FROM convostore.{table} AS t "
        f"WHERE (TABLE bound) AND t.tenant_id = :tenant_id AND t.profile_id = p.id{where}) AS item)"
    )


_ITEMS = {
    "channel_identities": _items(ChannelIdentity, "channel_identity", " ORDER BY t.position"),
    "fields": _items(ProfileField, "profile_field", " AND t.status = 'active'", by_name=True),
    "assets": _items(ProfileAsset, "profile_asset", " AND t.status <> 'superseded' ORDER BY t.position, t.id"),
}

_ASKED_FOR = "AND (:item_ids::uuid[] IS NULL OR t.id = ANY (:item_ids))"
_PAST_FIELDS = _items(ProfileField, "profile_field", f" AND t.status <> 'active' {_ASKED_FOR}")
_PAST_ASSETS = _items(ProfileAsset, "profile_asset", f" AND t.status = 'superseded' {_ASKED_FOR} ORDER BY t.id")

MACROS = {
    "profile": ", ".join(
        f"{_ITEMS[name]} AS {quoted(name)}" if name in _ITEMS else f"p.{quoted(name)}"
        for name in CustomerProfile.model_fields
    ),
    "past items": f"{_PAST_FIELDS} AS past_fields, {_PAST_ASSETS} AS past_assets",
}
"""What stands in double braces for a profile, and for its past items: those with one of `:item_ids`, NULL for all."""
