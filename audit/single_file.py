"""The verifier as one Python file, to be handed to somebody who has nothing of ours.

The file holds the modules' own sources, word for word and readable, and a few lines that import
them from there. It needs Python 3.11 or newer and `cryptography`. The same sources give the same
bytes, so that two people can compare what they were given by its hash. Standard library only.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent
PACKAGE = "audit"
ALLOWED = sys.stdlib_module_names | {"cryptography"}

_HEAD = '''\
#!/usr/bin/env python3
"""{title}

One file, made from the modules below, whose sources stand here word for word. It needs Python 3.11
or newer and the package `cryptography`, and nothing else: no installation, no database, no network
unless you name an address.

    python3 {name} --help
"""

import importlib.abc
import importlib.util
import sys

SOURCES = {{}}
'''

_TAIL = '''

class _Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules above, and no file of the same name."""

    def find_spec(self, name, path=None, target=None):
        if name not in SOURCES:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name == "{package}")

    def is_package(self, name):
        return name == "{package}"

    def get_source(self, name):
        return SOURCES[name]


sys.meta_path.insert(0, _Sources())

if __name__ == "__main__":
    from {entry} import main

    sys.exit(main())
'''


def single_file(entry: str, name: str, root: Path = HERE) -> bytes:
    """The file whose `main()` is that of the module `entry`. `name`: what it will be called.

    Raises ValueError where a module needs more than the standard library and `cryptography`.
    """
    modules = _closure(entry, root)
    title = ast.get_docstring(ast.parse(modules[entry])) or entry
    parts = [_HEAD.format(title=title.splitlines()[0], name=name)]
    parts += [_shown(module, source) for module, source in sorted(modules.items())]
    parts.append(_TAIL.format(entry=entry, package=PACKAGE))
    return "".join(parts).encode()


def _closure(entry: str, root: Path) -> dict[str, str]:
    """The sources of `entry` and of all modules of the package that it imports, directly or not."""
    found = {PACKAGE: (root / PACKAGE / "__init__.py").read_text()}
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found[module] = root.joinpath(*module.split(".")).with_suffix(".py").read_text()
            waiting += _imported(module, found[module])
    return found


def _imported(module: str, source: str) -> list[str]:
    ours = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == PACKAGE:
                names = [f"{PACKAGE}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == PACKAGE:
                ours.append(name)
            elif name.split(".")[0] not in ALLOWED:
                raise ValueError(f"{module} imports {name}: the verifier stands alone")
    return ours


def _shown(module: str, source: str) -> str:
    """The source as a raw string: a reader sees what runs."""
    if "'''" in source or source.endswith("\\"):
        raise ValueError(f"{module} holds three single quotes: it cannot be quoted as it is")
    bar = "# " + "-" * 98
    return f"\n{bar}\n# {module}\n\nSOURCES[{module!r}] = r'''{source}'''\n"
