"""Pack a data set that build_dataset made for training that reads it from disk: for sets larger than memory.

    python -m experiments.pack_dataset --data=data/procedural --output=data/packed
    python -m experiments.train --data=data/packed --workers=2 --output=runs/compact

Training on either gives the same bits, whatever --workers is, so that a run may go on with the other. OUTPUT holds
ArrayRecord files, one record a view, and manifest.json, which is written last; it stands alone. The same command
continues an interrupted packing, and makes files anew that are damaged.
"""

from absl import flags

from . import _launch as launch

_DATA = flags.DEFINE_string("data", None, "Data set folder, made by build_dataset; required.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the packed data set; required.")


def main():
    """Flags to one packing."""
    launch.require(data=_DATA.value, output=_OUTPUT.value)
    from rendernet_jax.data.records import pack

    output = launch.prepare_output(_OUTPUT.value)
    manifest = pack(_DATA.value, output)
    views, size = (sum(entry[key] for entry in manifest["records"]) for key in ("views", "bytes"))
    print(f"wrote {output}: complete, {views} views, {size / 1e6:.0f} MB in {len(manifest['records'])} files")


if __name__ == "__main__":
    launch.run(main)
