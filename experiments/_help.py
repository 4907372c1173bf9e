"""``--help`` of every launcher: its docstring, then its flags by group, with values, ranges and defaults."""

import shutil
import sys
import textwrap

from absl import flags

# The same word means the same thing in every launcher, and so stands in one group.
_GROUPS = {
    "Input": "input image mask mesh meshes voxels photo data source shapes families limit pictures objects poses "
    "training init category up occupancy grid run",
    "Network": "weights preset heads shader prior single_view variants bf16 platforms gradient",
    "View and light": "azimuth_deg elevation_deg roll_deg scale inverse_distance light_azimuth_deg light_elevation_deg",
    "Pictures": "outputs size views turntable turntable_format background float reference",
    "Training": "steps batch patch rate ema accumulate only_texture kl eval_every parallel train_batch",
    "Method": "fits schedule starts fix methods robustness repeats torch growth sizes batches limit_mib kernels",
    "Server": "host port",
    "Running": "seed workers dry_run executor scheduler coordinator processes process",
    "Output": "output overwrite",
}
OTHER = "Other"
_EXCEPTIONS = {("reproduce", "scale"): "Running"}  # how much is made, not how large an object is
_PLACEHOLDERS = {"int": "N", "float": "X", "comma separated list of strings": "A,B,..."}
_COLUMN = 28


def show_help(module) -> str:
    """Help text of a launcher, the module that was run."""
    own = flags.FLAGS.flags_by_module_dict().get(sys.argv[0], [])  # absl's name of the module that was run
    name = module.__spec__.name.rpartition(".")[2] if module.__spec__ else ""
    return "\n".join([(module.__doc__ or "").strip(), *_flag_lines(name, own)])


def group_of(launcher: str, flag: str) -> str:
    """Title of the group that a launcher's flag stands in."""
    known = [title for title, names in _GROUPS.items() if flag in names.split()]
    return _EXCEPTIONS.get((launcher, flag), (*known, OTHER)[0])


def _flag_lines(launcher: str, own: list[flags.Flag]) -> list[str]:
    lines = []
    for title in (*_GROUPS, OTHER):
        members = [flag for flag in own if group_of(launcher, flag.name) == title]
        lines += ["", f"{title}:"] * bool(members)
        for flag in members:
            lines += _describe(flag)
    return lines


def _describe(flag: flags.Flag) -> list[str]:
    width = max(60, min(120, shutil.get_terminal_size((110, 24)).columns))
    heading = f"  {_usage(flag)}"
    meaning = (
        flag.help.partition(">: ")[2] if flag.help.startswith("<") else flag.help
    )  # absl puts an enum's values there
    text = " ".join(part for part in (meaning, _range(flag), _default(flag)) if part)
    lines = textwrap.wrap(text, width - _COLUMN)
    first = f"{heading:{_COLUMN}}{lines[0]}" if len(heading) < _COLUMN else f"{heading}\n{' ' * _COLUMN}{lines[0]}"
    return [first, *(" " * _COLUMN + line for line in lines[1:])]


def _usage(flag: flags.Flag) -> str:
    if flag.boolean:
        return f"--[no]{flag.name}"
    values = getattr(flag.parser, "enum_values", None)
    return f"--{flag.name}={'|'.join(values) if values else _PLACEHOLDERS.get(flag.flag_type(), '...')}"


def _range(flag: flags.Flag) -> str:
    low, high = (getattr(flag.parser, name, None) for name in ("lower_bound", "upper_bound"))
    if high is not None:
        return f"[{low} to {high}]" if low is not None else f"[at most {high}]"
    return f"[{low} or more]" if low is not None else ""


def _default(flag: flags.Flag) -> str:
    if flag.default is None or flag.default in ([], ""):
        return ""
    if flag.boolean:
        return f"(default: {'on' if flag.default else 'off'})"
    return f"(default: {','.join(flag.default) if isinstance(flag.default, list) else flag.default})"
