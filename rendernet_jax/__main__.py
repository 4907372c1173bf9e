"""``python -m rendernet_jax NAME [flags]``: the launchers, from a checkout or an installed wheel."""

import ast
import pathlib
import runpy
import sys

_PACKAGE = pathlib.Path(__file__).resolve().parent


def launcher_folder() -> tuple[pathlib.Path, str]:
    """Folder that holds the launchers, and the package they are imported as: a wheel's own, else the checkout's."""
    if (_PACKAGE / "experiments").is_dir():
        return _PACKAGE / "experiments", "rendernet_jax.experiments"
    return _PACKAGE.parent / "experiments", "experiments"


def launchers() -> dict[str, str]:
    """Name -> first line of the docstring of each launcher; nothing is imported, so that listing is instant."""
    folder, _ = launcher_folder()
    found = {}
    for path in sorted(folder.glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = docstring.partition("\n")[0]
    return found


def main(arguments: list[str]) -> None:
    """List the launchers (no arguments), or run the first argument with the rest as its flags."""
    known = launchers()
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m rendernet_jax NAME [flags], where NAME is one of")
        width = max(map(len, known), default=0)
        for name, summary in known.items():
            print(f"  {name:{width}}  {summary}")
        print("python -m rendernet_jax NAME --help lists its flags")
        return
    name, *flags = arguments
    if name not in known:
        sys.exit(f"error: launcher: expected one of {', '.join(known)}, got {name!r}; correct the name")
    folder, package = launcher_folder()
    if package == "experiments":
        sys.path.insert(0, str(folder.parent))
    sys.argv = [f"{package}.{name}", *flags]
    runpy.run_module(f"{package}.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
