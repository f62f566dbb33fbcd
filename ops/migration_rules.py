"""What a migration may do while processes of the release before still run: add. Pure; a test asks it of each file.

An upgrade is rolling: `portcullis migrate` first, then one process after another. So for a while the old
release works on the new schema, and everything that it reads, writes or calls must still be there:

- *Expand* (every file, unless it says otherwise): new tables, columns with a default, wider checks, new
  functions, grants.
- *Contract*: dropping, renaming, narrowing. Only in a file that says, on a line of its own, since when
  nothing uses what goes, by release and by the last migration that release knew:

      -- contract: unused since 0.2.0, schema 0034

  Code that knows fewer migrations than that refuses to start on it (ops/migrate.py).
- One statement that only looks like narrowing may say why it is none, in the comment before it or on
  its line:  -- safe: <why>

A check that was replaced by a wider one of the same name is seen to be wider where both list values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

FIRST_RULED = 30
"""Files before it were never released: nobody ran on them in between."""

_CONTRACT = re.compile(r"^-- contract: unused since (\d+\.\d+\.\d+), schema (\d{4})$", re.MULTILINE)
_LOOKS_LIKE = re.compile(r"^--\s*contract\b.*$", re.MULTILINE | re.IGNORECASE)
_SAFE = re.compile(r"-- safe: \S.{8,}")
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|(?P<tag>\$\w*\$).*?(?P=tag)|;|[^-/'$;]+|.", re.DOTALL
)

_WAYS = (
    (r"\bDROP\s+(TABLE|COLUMN|VIEW|FUNCTION|TYPE|SEQUENCE|TRIGGER|POLICY|INDEX|SCHEMA)\b", "drops"),
    (r"\bDROP\s+(CONSTRAINT|DEFAULT)\b", "drops"),
    (r"\bRENAME\b", "renames"),
    (r"\bALTER\s+COLUMN\s+\S+\s+(SET\s+DATA\s+)?TYPE\b", "changes the type of"),
    (r"\bSET\s+NOT\s+NULL\b", "narrows"),
    (r"\bREVOKE\b", "takes a right from"),
    (r"\bAS\s+RESTRICTIVE\b", "narrows"),
    (r"\bTRUNCATE\s+(?!ON\b)", "empties"),
)
_NARROWS = (
    r"^ALTER\s+TABLE.*\bADD\s+(CONSTRAINT\s+\S+\s+)?(CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b",
    r"^CREATE\s+UNIQUE\s+INDEX\b",
    r"^ALTER\s+TABLE.*\b(ENABLE|FORCE)\s+ROW\s+LEVEL\b",
)
_COLUMN = re.compile(r"\bADD\s+COLUMN\s+[^,;]*", re.IGNORECASE)
_TABLE = re.compile(
    r"(?:^ALTER\s+TABLE\s+(?:ONLY\s+)?|\bON\s+)(?:TABLE\s+|FUNCTION\s+|SCHEMA\s+)?(\w+)",
    re.IGNORECASE,
)
_MADE = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:UNIQUE\s+)?(?:TABLE|FUNCTION|VIEW|INDEX|TYPE|POLICY|TRIGGER)\s+(\w+)",
    re.IGNORECASE,
)
_VALUES = r"CHECK\s*\(\s*(\w+)\s+(?:IN\s*\(([^)]*)\)|=\s*ANY[^)]*)\s*\)"
_SWAP = re.compile(r"^ALTER\s+TABLE\s+(\w+)\s+DROP\s+CONSTRAINT\s+(\w+)$", re.IGNORECASE)


class Contract(msgspec.Struct, frozen=True):
    """What a contracting file says: unused since that release, which knew migrations up to `schema`."""

    release: str
    schema: int


class Statement(msgspec.Struct, frozen=True):
    """One of a file's: `text` without comments and with string bodies, `said` the comments with it."""

    text: str
    said: str


def contract_of(sql: str) -> Contract | None:
    """What the file says of itself. Raises ValueError for a mark that is misspelt."""
    found = _CONTRACT.search(sql)
    if found is not None:
        return Contract(found[1], int(found[2]))
    if misspelt := _LOOKS_LIKE.search(sql):
        raise ValueError(
            f"{misspelt[0]!r}: a contract is marked `-- contract: unused since 0.2.0, schema 0034`"
        )
    return None


def statements(sql: str) -> Iterator[Statement]:
    """The file's statements, as PostgreSQL would divide them."""
    text: list[str] = []
    said: list[str] = []
    for token in _TOKEN.finditer(sql):
        word = token[0]
        if word.startswith(("--", "/*")):
            said.append(word)
            continue
        if word != ";":
            text.append(word)
            continue
        # A comment on the statement's own line is after its semicolon.
        rest = sql[token.end() :].split("\n", 1)[0]
        yield Statement(" ".join("".join(text).split()), "\n".join([*said, rest]))
        text, said = [], []


def breaches(number: int, sql: str, before: Sequence[str]) -> list[str]:
    """What the release before could trip over, a sentence each; `before`: the earlier files, in order."""
    contract = contract_of(sql)
    if contract is not None:
        if contract.schema < number:
            return []
        return [f"{number:04} contracts what schema {contract.schema:04} stopped using: not yet"]
    own = set(_MADE.findall(sql))
    every = list(statements(sql))
    return [
        f"{why} {_short(one.text)}"
        for one in every
        if (why := _why(one, own, every, before)) is not None and not _SAFE.search(one.said)
    ]


def _why(
    one: Statement, own: set[str], every: Sequence[Statement], before: Sequence[str]
) -> str | None:
    """In which way a statement takes something away; None: it does not."""
    text = one.text
    if re.match(r"CREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE|TABLE)\b", text, re.IGNORECASE):
        return None  # bodies run later; a new table's own conditions bind nobody yet
    if re.match(r"(INSERT|UPDATE|DELETE|SELECT|COMMENT|GRANT)\b", text, re.IGNORECASE):
        return None
    table = _TABLE.search(text)
    if table is not None and table[1] in own:
        return None
    if _widens(text, every, before):
        return None
    for pattern, why in _WAYS:
        if re.search(pattern, text, re.IGNORECASE):
            return None if why.startswith("takes") and _given(text, every) else why
    if any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for pattern in _NARROWS):
        return "narrows"
    for column in map(str.upper, _COLUMN.findall(text)):
        if "NOT NULL" in column and not re.search(r"\b(DEFAULT|GENERATED)\b", column):
            return "wants a value that the release before does not write:"
    return None


def _given(text: str, every: Sequence[Statement]) -> bool:
    """Whether the same file grants what it revokes: rights for the length of a migration."""
    wanted = re.sub(r"^REVOKE\b(.*)\bFROM\b", r"GRANT\1TO", text, flags=re.IGNORECASE)
    return any(one.text == wanted for one in every)


def _widens(text: str, every: Sequence[Statement], before: Sequence[str]) -> bool:
    """Whether it is one half of a check that is replaced by one that lists all the values of the old."""
    dropped = _SWAP.match(text)
    added = re.match(rf"ALTER TABLE (\w+) ADD CONSTRAINT (\w+) {_VALUES}$", text, re.IGNORECASE)
    found = dropped or added
    if found is None:
        return False
    table, name = found[1], found[2]
    new = next(
        (
            match
            for one in every
            if (match := re.match(
                rf"ALTER TABLE {table} ADD CONSTRAINT {name} {_VALUES}$", one.text, re.IGNORECASE
            ))
        ),
        None,
    )  # fmt: skip
    drops = any(
        (match := _SWAP.match(one.text)) and match.groups() == (table, name) for one in every
    )
    if new is None or not drops:
        return False
    old = _values_before(table, name, new[1], before)
    return old is not None and old <= _listed(new[2])


def _values_before(table: str, name: str, column: str, before: Sequence[str]) -> set[str] | None:
    """What the check allowed until now; None where no earlier file lists it."""
    for sql in reversed(before):
        for one in reversed(list(statements(sql))):
            named = re.search(rf"\bADD CONSTRAINT {name} {_VALUES}", one.text, re.IGNORECASE)
            made = re.match(rf"(CREATE TABLE|ALTER TABLE) {table}\b", one.text, re.IGNORECASE)
            inline = made and re.search(rf"\b{column}\b[^,]*?{_VALUES}", one.text, re.IGNORECASE)
            match = named or inline
            if match and match[1] == column and match[2]:
                return _listed(match[2])
    return None


def _listed(values: str) -> set[str]:
    return {value.strip() for value in values.split(",")}


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "…"
