"""Decimals that come as text: plain ASCII numbers only, wherever in a document a type says Decimal. Pure.

msgspec reads such text with Python's `Decimal`, which also takes `1_000`, ` 5`, other scripts'
digits and NaN. Whoever writes those means something that we should not guess. So the plain
values of a document are looked at beside its type, before or after it is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from tenancy.values import DECIMAL

Look = Callable[[Any, str], None]
"""Looks at one value, whose place it is told. Raises ValueError."""


def refuse_loose_decimals(value: Any, kind: Any) -> None:
    """Raises ValueError, naming the place, where `kind` has a decimal and `value` a text that is no plain number.

    Whatever else is wrong with `value` is left to the decoder.
    """
    look = _look_at(kind)
    if look is not None:
        look(value, "$")


@cache
def _look_at(kind: Any) -> Look | None:
    return _Looks().of(msgspec.inspect.type_info(kind))


class _Looks:
    """Builds what looks at a type; a struct that holds itself is met twice and built once."""

    def __init__(self) -> None:
        self._structs: dict[Any, Look | None] = {}

    def of(self, info: Any) -> Look | None:
        """None where no decimal can be."""
        match info:
            case msgspec.inspect.Metadata():
                return self.of(info.type)
            case msgspec.inspect.DecimalType():
                return _decimal
            case msgspec.inspect.UnionType():
                return self._union(info)
            case msgspec.inspect.StructType():
                return self._struct(info)
            case msgspec.inspect.DictType():
                return _of_values(self.of(info.value_type))
            case (
                msgspec.inspect.ListType() | msgspec.inspect.VarTupleType()
                | msgspec.inspect.SetType() | msgspec.inspect.FrozenSetType()
            ):  # fmt: skip
                return _of_items(self.of(info.item_type))
            case msgspec.inspect.TupleType():
                return _of_places([self.of(item) for item in info.item_types])
        return None

    def _union(self, info: Any) -> Look | None:
        looks = [look for look in map(self.of, info.types) if look is not None]

        def all_of(value: Any, place: str) -> None:
            for look in looks:
                look(value, place)

        return all_of if looks else None

    def _struct(self, info: Any) -> Look | None:
        if info.cls in self._structs:
            return self._structs[info.cls]
        looks: dict[str, Look] = {}

        def members(value: Any, place: str) -> None:
            if isinstance(value, Mapping):
                for name in looks.keys() & value.keys():
                    looks[name](value[name], f"{place}.{name}")

        self._structs[info.cls] = members
        for field in info.fields:
            look = self.of(field.type)
            if look is not None:
                looks[field.encode_name] = look
        return members if looks else None


def _decimal(value: Any, place: str) -> None:
    if isinstance(value, str) and DECIMAL.fullmatch(value) is None:
        raise ValueError(
            f'a decimal number is needed, such as "1.5"; found {value[:40]!r} - at `{place}`'
        )


def _of_values(look: Look | None) -> Look | None:
    def values(value: Any, place: str) -> None:
        if look is not None and isinstance(value, Mapping):
            for name, one in value.items():
                look(one, f"{place}.{name}" if str(name).isidentifier() else f"{place}[...]")

    return values if look is not None else None


def _of_items(look: Look | None) -> Look | None:
    def items(value: Any, place: str) -> None:
        if look is not None and isinstance(value, (list, tuple, set, frozenset)):
            for number, one in enumerate(value):
                look(one, f"{place}[{number}]")

    return items if look is not None else None


def _of_places(looks: list[Look | None]) -> Look | None:
    def places(value: Any, place: str) -> None:
        if isinstance(value, (list, tuple)):
            for number, (one, look) in enumerate(zip(value, looks, strict=False)):
                if look is not None:
                    look(one, f"{place}[{number}]")

    return places if any(look is not None for look in looks) else None
