"""Imports go one way: a module imports only from modules above it in WORKSPACE.md's list."""

import ast
import pathlib

PACKAGE = pathlib.Path(__file__).parent.parent / "rendernet_jax"
ORDER = [
    "errors",
    "provenance",
    "files",
    "array_files",
    "camera",
    "conv",
    "voxels",
    "composite",
    "config",
    "parameters",
    "layers",
    "baselines",
    "vector_matrix",
    "texture",
    "network",
    "shading",
    "rendering",
    "losses",
    "metrics",
    "shape_prior",
    "squares",
    "turns",
    "carving",
    "single_view",
    "inverse",
    "weights",
    "data",
    "training",
    "evaluation",
    "exporting",
    "mesh_references",
    "comparison",
    "mesh_scores",
    "report",
    "scoreboard",
    "reproduction_plan",
    "reproduction_text",
    "reproduction_report",
    "reproduction",
    "batch_render",
    "retrieval",
    "fit_targets",
    "fit_scores",
    "fit_methods",
    "fit_report",
    "texture_scores",
    "texture_report",
    "fit_file",
    "reconstruction_report",
    "reconstruction",
    "viewer",
    "benchmark",
]


def _unit(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_units(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rendernet_jax":
            rest = node.module.split(".")[1:]
            yield from rest[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("rendernet_jax."))


def test_imports_go_one_way():
    """The order is the one that WORKSPACE.md's table shows."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        unit = _unit(path)
        if unit in ("__init__", "__main__"):
            continue
        assert unit in ORDER, f"{path}: give it a place in the order"
        for imported in _imported_units(path):
            if imported != unit and ORDER.index(imported) >= ORDER.index(unit):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {imported}")
    assert not wrong


def test_core_does_not_need_open3d():
    """Rendering and training on voxel files work where Open3D is not installed."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
            assert not any((name or "").startswith("open3d") for name in names), path


def test_only_conv_knows_platforms():
    """No other file asks which platform it runs on."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert path.name == "conv.py" or ("platform_dependent" not in text and "default_backend" not in text), path
