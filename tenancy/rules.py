"""What a JSON Schema says of a struct's members together, beside the checks in `__post_init__`. Pure.

A struct says it as the class variable `rules`; gateway/admin/schemas.py puts it into the document of
what goes in. An absent member and one that is null are the same to a struct, and so they are here.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
NOT_NULL: Schema = {"not": NULL}
EACH_ONCE: Schema = {"uniqueItems": True}


def given(*names: str, **members: Schema) -> Schema:
    """These members are there, and `members` look so where they are."""
    return {
        "required": list(names),
        "properties": dict.fromkeys(names, NOT_NULL) | members,
    }


def absent(*names: str) -> Schema:
    """None of these members is there."""
    return {"properties": dict.fromkeys(names, NULL)}


def one_given(*names: str, also: Schema | None = None, **members: Schema) -> list[Schema]:
    """One schema for each name, which is there while the others are not; and `also`, with each."""
    also = also or given(**members)
    made = []
    for name in names:
        one = given(name, **{other: NULL for other in names if other != name})
        made.append(
            {
                "required": [*also["required"], *one["required"]],
                "properties": also["properties"] | one["properties"],
            }
        )
    return made
