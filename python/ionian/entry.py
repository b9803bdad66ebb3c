"""What a launcher imports: the program that was started, under a name that is not ``__main__``.

Objects of the main script are pickled by name. In the caller they live in ``__main__``, in a worker
in ``__mp_main__``; each side knows both names, so they find each other, and an
``if __name__ == "__main__":`` does not run twice.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import types
from typing import Any

from . import _runtime

ALIAS = "__mp_main__"  # the name that multiprocessing gives it in its children, so both agree

#: In a launcher and its workers: what was loaded. A nested run loads the same.
loaded: dict[str, Any] | None = None
SCRIPT_MARK = "__ionian_script__"


def describe(
    modules: list[str], preload: list[str], script: tuple[str, str] | None
) -> dict[str, Any]:
    """Returns what a launcher must load for functions of ``modules``.

    ``preload``: modules worth importing before workers fork; one that fails is skipped. ``script``: a
    file that the command line loaded, with the name it was loaded under.
    """
    if loaded is not None:
        return loaded | {"sys_path": list(sys.path)}
    setup: dict[str, Any] = {
        "sys_path": list(sys.path),
        "argv": list(sys.argv),
        "modules": [name for name in modules if name != "__main__"],
        "preload": preload,
        "name": "your code",
    }
    if script is not None:
        setup["script"] = script
        setup["name"] = os.path.basename(script[0])
    elif (main := main_source()) is not None:
        setup["main"] = main
        setup["main_first"] = "__main__" in modules  # else when an object of it is sent
        setup["name"] = os.path.basename(main["path"]) if "path" in main else main["module"]
        sys.modules.setdefault(ALIAS, sys.modules["__main__"])
    elif setup["modules"]:
        setup["name"] = setup["modules"][0]
    return setup


def main_source() -> dict[str, str] | None:
    """Returns how ``__main__`` can be loaded again; None for a notebook, ``-c`` or an interpreter."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name and spec.name != "__main__":
        return {"module": spec.name}
    path = getattr(main, "__file__", None)
    if (
        path
        and os.path.isfile(path)
        and not hasattr(main, "__IPYTHON__")
        and "ipykernel" not in sys.modules
    ):
        return {"path": os.path.abspath(path)}
    return None


def _execute(name: str, path: str, *, marked: bool = False) -> types.ModuleType:
    """Runs a file as a module that stays even if it ends at its ``with app.run():``.

    ``marked``: launchers load the same file under the same name, so its functions go by name.
    """
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if marked:
        module.__dict__[SCRIPT_MARK] = True
    try:
        loader.exec_module(module)
    except _runtime.ReachedRun:
        pass
    return module


class _LazyMain(types.ModuleType):
    """Stands for a main script whose functions are elsewhere: loaded when something of it is needed."""

    def __init__(self, source: dict[str, str]) -> None:
        super().__init__(ALIAS)
        self.__dict__["_source"] = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_load_source(self.__dict__["_source"]), name)


def _load_source(source: dict[str, str]) -> types.ModuleType:
    """Runs the program that was started, as the module that ``__main__`` means from here on."""
    module = types.ModuleType(ALIAS)
    if "path" in source:
        path = source["path"]
        with io.open_code(path) as file:
            code = compile(file.read(), path, "exec")
    else:
        spec = importlib.util.find_spec(source["module"])
        loader: Any = spec.loader if spec is not None else None
        if spec is None or not hasattr(loader, "get_code"):
            raise ImportError(f"no module named {source['module']!r}")
        code, path = loader.get_code(spec.name), str(spec.origin)
        # As in the caller: relative imports need the package, multiprocessing the module's name.
        module.__spec__ = spec
        module.__package__ = spec.parent
    module.__file__ = path
    sys.modules[ALIAS] = sys.modules["__main__"] = module
    try:
        exec(code, module.__dict__)
    except _runtime.ReachedRun:
        pass
    return module


def load_script(path: str) -> tuple[types.ModuleType, str]:
    """Imports a file as the command line does: under its own name, its directory first on the path.

    Returns the module and its name.
    """
    path = os.path.abspath(path)
    name = os.path.splitext(os.path.basename(path))[0]
    directory = os.path.dirname(path)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    return _execute(name, path, marked=True), name


def load_main(setup: dict[str, Any]) -> None:
    """In a launcher: imports what ``describe`` named. Raises whatever the user's code raises."""
    global loaded
    loaded = setup
    sys.path[:] = setup["sys_path"]
    sys.argv[:] = setup["argv"]
    main = setup.get("main")
    if main is not None and setup["main_first"]:
        _load_source(main)
    elif main is not None:
        sys.modules[ALIAS] = sys.modules["__main__"] = _LazyMain(main)
    elif "script" in setup:
        path, name = setup["script"]
        sys.modules[ALIAS] = _execute(name, path, marked=True)
    for name in setup["modules"]:
        importlib.import_module(name)
    for name in setup["preload"]:
        try:
            importlib.import_module(name)
        except Exception:
            pass  # the function's own import says what is wrong, to the call that needs it
