"""JSON Schema of what goes in and what comes out, from the msgspec types that decode and encode it.

One type has up to three faces, for the wire is not the same in both directions:

- **out**: decimals are strings, members that are always written are required, and a later version
  may say more;
- **in** (`…Input` where it differs): a decimal may be a string or a number;
- **patch** (`…Patch`): a JSON Merge Patch (RFC 7396): nothing is required, and null takes away
  what may be absent.

What `__post_init__` checks beyond that stands in the struct's `rules` (tenancy/rules.py), which
hold of what goes in whole; and in the descriptions, which are the docstrings of the types and of
their members.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_origin

import msgspec
from msgspec.inspect import StructType, multi_type_info

from tenancy.values import END

Schema = dict[str, Any]
Face = Literal["out", "in", "patch"]
REF = "#/components/schemas/"
NULL: Schema = {"type": "null"}
DECIMAL_OUT: Schema = {
    "type": "string",
    "format": "decimal",
    "pattern": r"^-?[0-9]+(\.[0-9]+)?(E[+-][0-9]+)?$",
}
DECIMAL_IN: Schema = {
    "anyOf": [
        {
            "type": "string", "format": "decimal",
            "pattern": r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$",
        },
        {"type": "number"},
    ]
}  # fmt: skip
_ABOVE_ZERO = r"[0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*"
POSITIVE_IN: Schema = {
    "anyOf": [
        {
            "type": "string", "format": "decimal",
            "pattern": rf"^\+?({_ABOVE_ZERO})([eE][+-]?[0-9]{{1,3}})?$",
        },
        {"type": "number", "exclusiveMinimum": 0},
    ]
}  # fmt: skip
_NO_LINE_BREAK = END.removeprefix("$")
"""JSON Schema's `$` (ECMA-262) is the end and nothing else: what Python needs beside it goes."""
_PAGE = re.compile(r"^Page_(.+)_$")
_OF_LISTS = ("items", "prefixItems")


class Schemas:
    """The components of one document. `of` and `components` agree on every name."""

    def __init__(
        self, out: Iterable[Any], into: Iterable[Any] = (), patched: Iterable[Any] = ()
    ) -> None:
        """`out`: types of answers; `into`: of bodies and parameters; `patched`: documents of patches."""
        self._roots: dict[Face, list[Any]] = {
            "out": _unique(out), "in": _unique(into), "patch": _unique(patched),
        }  # fmt: skip
        types = _unique([root for roots in self._roots.values() for root in roots])
        structs = _structs(types)
        schemas, self._raw = msgspec.json.schema_components(
            [*types, *structs], schema_hook=_unknown, ref_template=REF + "{name}"
        )
        self._roots_as = list(zip(types, schemas[: len(types)], strict=True))
        self._class_of = {
            schema["$ref"].removeprefix(REF): struct
            for struct, schema in zip(structs, schemas[len(types) :], strict=True)
            if "$ref" in schema
        }
        self._used = {
            face: self._reached([self._plain(root) for root in roots], _refs)
            for face, roots in self._roots.items()
        }
        patched = [self._plain(root) for root in self._roots["patch"]]
        self._used["patch"] = self._reached(patched, _refs_outside_lists)
        self._used["in"] |= self._inside_patches()
        self._differing = self._find_differing()

    def of(self, kind: Any, face: Face) -> Schema:
        """The schema of one of the types given above, seen from that side."""
        return self._seen(self._plain(kind), face)

    def components(self) -> dict[str, Schema]:
        """Every named schema, by name."""
        made: dict[str, Schema] = {}
        for face, names in self._used.items():
            for name in names:
                made[self._name(name, face)] = self._component(name, face)
        return dict(sorted(made.items()))

    def _plain(self, kind: Any) -> Schema:
        return next(schema for known, schema in self._roots_as if known == kind)

    def _component(self, name: str, face: Face) -> Schema:
        schema = self._seen(self._raw[name], face)
        struct = self._class_of.get(name)
        if struct is None:
            return schema
        config = (get_origin(struct) or struct).__struct_config__
        schema.pop("title", None)
        if "description" in schema:
            schema["description"] = _prose(schema["description"])
        needed = schema.pop("required", [])
        properties: Schema = schema.get("properties", {})
        for member, text in _documented(get_origin(struct) or struct).items():
            if member in properties:
                properties[member] = _described(properties[member], text)
        if face == "patch":
            optional = [member for member in properties if member not in needed]
            for member in optional:
                properties[member] = _or_null(properties[member])
            return schema
        if face == "out" and config.omit_defaults:
            for member in properties:
                if member not in needed:
                    properties[member] = _never_null(properties[member])
        elif face == "out":
            needed = list(properties)
        if face == "in":
            schema |= msgspec.to_builtins(getattr(get_origin(struct) or struct, "rules", {}))
        if face == "out":
            schema.pop("additionalProperties", None)  # a later version may say more
            for value in properties.values():
                value.pop("default", None)
        return {**schema, "required": needed} if needed else schema

    def _seen(self, schema: Any, face: Face) -> Any:
        """The schema from that side: decimals, and the names of what it refers to."""
        if isinstance(schema, list):
            return [self._seen(part, face) for part in schema]
        if not isinstance(schema, dict):
            return schema
        if schema.get("format") == "decimal":
            wanted = POSITIVE_IN if "exclusiveMinimum" in schema else DECIMAL_IN
            base = DECIMAL_OUT if face == "out" else wanted
            said = ("type", "format", "exclusiveMinimum")
            rest = {k: v for k, v in schema.items() if k not in said}
            return {**msgspec.to_builtins(base), **rest}
        made: Schema = {}
        for key, value in schema.items():
            if key == "$ref":
                made[key] = REF + self._name(value.removeprefix(REF), face)
            elif key == "default":
                if face != "patch":
                    made[key] = value
            elif key == "pattern" and isinstance(value, str):
                made[key] = value.removesuffix(_NO_LINE_BREAK)
            elif key == "properties":
                made[key] = {member: self._seen(part, face) for member, part in value.items()}
            elif key in _OF_LISTS and face == "patch":
                made[key] = self._seen(value, "in")  # a list is replaced as a whole
            elif key == "additionalProperties" and face == "patch" and isinstance(value, dict):
                made[key] = _or_null(self._seen(value, face))
            else:
                made[key] = self._seen(value, face)
        return made

    def _name(self, name: str, face: Face) -> str:
        shown = _PAGE.sub(r"\1Page", name)
        if face == "patch":
            return shown + "Patch" if self._is_object(name) else self._name(name, "in")
        if face == "in" and name in getattr(self, "_differing", ()):
            return shown + "Input"
        return shown

    def _is_object(self, name: str) -> bool:
        return "properties" in self._raw[name]

    def _find_differing(self) -> set[str]:
        """The components that are used in both directions and are not the same in both."""
        both = self._used["in"] & self._used["out"]
        differing = {
            name for name in both if self._component(name, "in") != self._component(name, "out")
        }
        while more := {
            name for name in both - differing if set(_refs(self._raw[name])) & differing
        }:
            differing |= more
        return differing

    def _reached(self, schemas: Iterable[Schema], refs: Callable[[Any], Iterator[str]]) -> set[str]:
        reached: set[str] = set()
        waiting = [name for schema in schemas for name in refs(schema)]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += refs(self._raw[name])
        return reached

    def _inside_patches(self) -> set[str]:
        """What a patch replaces as a whole: the items of lists, and what is no object."""
        whole = {name for name in self._used["patch"] if not self._is_object(name)}
        self._used["patch"] -= whole
        raw = [self._raw[name] for name in self._used["patch"]]
        return whole | self._reached([part for schema in raw for part in _lists(schema)], _refs)


def _unique(types: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for kind in types:
        if kind not in found:
            found.append(kind)
    return found


def _structs(types: Sequence[Any]) -> list[Any]:
    """Every Struct that the types are made of."""
    found: list[Any] = []

    def look(info: Any) -> None:
        if isinstance(info, StructType):
            if info.cls in found:
                return
            found.append(info.cls)
        if isinstance(info, (list, tuple)):
            for part in info:
                look(part)
        elif isinstance(info, msgspec.Struct):
            for name in info.__struct_fields__:
                if name not in ("cls", "default", "default_factory", "extra_json_schema"):
                    look(getattr(info, name))

    look(multi_type_info(types))
    return found


def _refs(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _refs(part)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.removeprefix(REF)
            else:
                yield from _refs(value)


def _refs_outside_lists(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        schema = {key: value for key, value in schema.items() if key not in _OF_LISTS}
        for key, value in schema.items():
            if key == "$ref":
                yield value.removeprefix(REF)
            else:
                yield from _refs_outside_lists(value)
    elif isinstance(schema, list):
        for part in schema:
            yield from _refs_outside_lists(part)


def _lists(schema: Any) -> Iterator[Any]:
    """What the schema says of the items of lists."""
    if isinstance(schema, list):
        for part in schema:
            yield from _lists(part)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key in _OF_LISTS:
                yield value
            else:
                yield from _lists(value)


def _or_null(schema: Schema) -> Schema:
    if "anyOf" not in schema:
        return {"anyOf": [schema, NULL]}
    return schema if NULL in schema["anyOf"] else {**schema, "anyOf": [*schema["anyOf"], NULL]}


def _never_null(schema: Schema) -> Schema:
    if NULL not in schema.get("anyOf", ()):
        return schema
    rest = [part for part in schema["anyOf"] if part != NULL]
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest[0], **others} if len(rest) == 1 else {**others, "anyOf": rest}


def _described(schema: Schema, text: str) -> Schema:
    return schema if "description" in schema else {**schema, "description": text}


def _unknown(kind: type) -> Schema:
    raise TypeError(f"no JSON Schema is known for {kind}: use a type that msgspec knows")


def _prose(text: str) -> str:
    return inspect.cleandoc(text).replace("``", "`")


def _documented(struct: type) -> Mapping[str, str]:
    """The strings that stand under the members, those of the base classes too."""
    found: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        if cls.__module__.split(".")[0] not in ("builtins", "msgspec", "typing"):
            found |= _docs_of_module(cls.__module__).get(cls.__qualname__, {})
    return found


@cache
def _docs_of_module(name: str) -> dict[str, dict[str, str]]:
    made: dict[str, dict[str, str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[name]))):
        if isinstance(node, ast.ClassDef):
            made[node.name] = dict(_docs_of_members(node))
    return made


def _docs_of_members(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for member, after in zip(node.body, node.body[1:], strict=False):
        match member, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, _prose(text)
