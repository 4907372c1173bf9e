"""Set-up files agree with the folders and with each other, and the package's launcher list works."""

import ast
import configparser
import hashlib
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import rendernet_jax
from rendernet_jax import __main__ as entry
from rendernet_jax.weights import cards, shipped

ECHO = '''"""Writes."""
import sys

from rendernet_jax import seen

if __name__ == "__main__":
    seen.append(sys.argv[1:])
'''
ROOT = pathlib.Path(__file__).resolve().parent.parent


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(line: str) -> str:
    return canonical(re.match(r"[\w.-]+", line.strip())[0])


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "third_party" / "requirements.lock").read_text(encoding="utf-8")


def direct_dependencies(setup_cfg, extras=("mesh", "export", "viewer", "cluster", "records", "dev")) -> set[str]:
    lines = setup_cfg["options"]["install_requires"].split("\n")
    for extra in extras:
        lines += setup_cfg["options.extras_require"][extra].split("\n")
    return {requirement_name(line) for line in lines if line.strip()}


def test_every_package_folder_is_listed(setup_cfg):
    listed = {p for p in setup_cfg["options"]["packages"].split() if p != "rendernet_jax.experiments"}
    inits = (ROOT / "rendernet_jax").rglob("__init__.py")
    assert listed == {".".join(path.parent.relative_to(ROOT).parts) for path in inits}


def imported_packages() -> set[str]:
    """Top-level modules that the library and the launchers import, at their head or within a function."""
    names = set()
    for path in [*(ROOT / "rendernet_jax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    # The child that parses meshes finds its readers beside itself, without the package.
    return names - sys.stdlib_module_names - {"rendernet_jax", "mesh_parsing"}


def test_declared_dependencies_are_those_that_are_imported(setup_cfg):
    distributions = importlib.metadata.packages_distributions()
    imported = {
        canonical(distributions[name][0]) for name in imported_packages() - {"cv2", "numba", "open3d", "torch", "viser"}
    }
    assert direct_dependencies(setup_cfg, extras=()) == imported


def test_lock_pins_and_hashes_every_dependency(setup_cfg, lock):
    pins = re.findall(r"^([\w.-]+)==\S+.*\\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^\w", lock, re.MULTILINE))
    assert direct_dependencies(setup_cfg) <= {canonical(p) for p in pins}


def test_lock_names_no_index_and_no_path(lock):
    assert not re.search(r"://| @ |--(extra-)?index-url|--find-links|^-e|^/", lock, re.MULTILINE)


def test_lock_covers_both_jax_lines(lock):
    assert re.search(r"^jax==0\.10\.2 ; python_full_version < '3\.12'", lock, re.MULTILINE)
    assert re.search(r"^jax==0\.12\.\S+ ; python_full_version >= '3\.12'", lock, re.MULTILINE)


def test_readme_gives_version_and_licence_of_every_dependency(setup_cfg, lock):
    table = (ROOT / "third_party" / "README.md").read_text(encoding="utf-8")
    rows = {canonical(m[1]): m[0] for m in re.finditer(r"^\| `([\w.-]+)` \|.*$", table, re.MULTILINE)}
    extra = {
        requirement_name(x) for x in (ROOT / "third_party/requirements.in").read_text().split("\n") if x[:1].isalpha()
    }
    assert set(rows) == direct_dependencies(setup_cfg) | extra
    for name, row in rows.items():
        for version in re.findall(rf"^{name}==(\S+)", lock, re.MULTILINE):
            assert re.search(rf"\b{re.escape(version)}\b", row), f"{name}: {version} is not in its row of the README"


def test_launchers_say_what_they_do_and_import_no_sibling_by_absolute_name():
    for path in (ROOT / "experiments").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        summary = (ast.get_docstring(tree) or "").partition("\n")[0]
        assert 10 < len(summary) <= 110, f"{path.name}: the docstring's first line is the launcher's entry in the list"
        for node in ast.walk(tree):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not any(m.split(".")[0] == "experiments" for m in modules), f"{path.name}: breaks in a wheel"


def test_listing_imports_no_jax():
    code = "import runpy, sys; sys.argv = ['x']; runpy.run_module('rendernet_jax', run_name='__main__', alter_sys=True)"
    code += "; assert 'jax' not in sys.modules, 'jax was imported'"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:-1]] == sorted(entry.launchers())


def test_runs_a_launcher_with_its_flags(monkeypatch, tmp_path):
    package = tmp_path / "rendernet_jax"
    (package / "experiments").mkdir(parents=True)
    (package / "experiments" / "__init__.py").touch()
    (package / "experiments" / "echo.py").write_text(ECHO)
    monkeypatch.setattr(entry, "_PACKAGE", package)
    monkeypatch.setattr(rendernet_jax, "__path__", [str(package), *rendernet_jax.__path__])
    monkeypatch.setattr(rendernet_jax, "seen", [], raising=False)
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert entry.launchers() == {"echo": "Writes."}
    entry.main(["echo", "--size=8"])
    assert rendernet_jax.seen == [["--size=8"]]


def test_unknown_launcher_names_the_known_ones():
    with pytest.raises(SystemExit, match="launcher: expected one of .*got 'rendre'"):
        entry.main(["rendre"])


@pytest.mark.parametrize("name", shipped())
def test_model_card_agrees_with_the_provenance_and_says_what_it_is_for(name):
    text = cards.card_path(name).read_text(encoding="utf-8")
    assert text.endswith(cards.facts(name)), "run `make cards`"
    assert text.startswith(f"# {name}\n") and "To be written" not in text
    assert re.findall("^## .*", text, re.MULTILINE) == ["## Use", "## Limits", cards.MARK]


def test_citation_names_this_version_and_licence(setup_cfg):
    fields = dict(re.findall(r"^([\w-]+): (\S.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE))
    assert fields["version"] == setup_cfg["metadata"]["version"]
    assert fields["license"] == setup_cfg["metadata"]["license"]


def build_wheel(checkout, output, umask) -> pathlib.Path:
    """The wheel that ``make wheel`` builds in a checkout."""
    environment = os.environ | {"BIN": str(pathlib.Path(sys.executable).parent), "WHEELS": str(output)}
    command = ["sh", str(checkout / "third_party" / "wheel.sh")]
    done = subprocess.run(command, env=environment, umask=umask, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (wheel,) = output.glob("*.whl")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in done.stdout
    return wheel


@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git"), reason="a wheel is built from a git commit"
)
def test_wheel_is_the_same_twice_and_runs_in_an_empty_environment(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True, umask=0o077)
    (clone / "rendernet_jax" / "weights" / "stray.npz").touch()
    wheel, again = build_wheel(ROOT, tmp_path / "one", 0o022), build_wheel(clone, tmp_path / "two", 0o077)
    assert wheel.name == again.name and wheel.read_bytes() == again.read_bytes()

    names = zipfile.ZipFile(wheel).namelist()
    for name in shipped():
        assert {f"rendernet_jax/weights/{name}{suffix}" for suffix in (".npz", ".json", ".md")} <= set(names)
    assert not [n for n in names if "stray" in n or n.startswith(("tests/", "experiments/"))]

    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "empty")], check=True)
    python = str(tmp_path / "empty" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    done = subprocess.run([python, "-m", "rendernet_jax", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed == set(entry.launchers())
