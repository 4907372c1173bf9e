"""A benchmark's report as lines of text."""


def stage_lines(report: dict) -> list[str]:
    """The table of stages, the ratios and the figures of one picture."""
    lines = [f"{'':18}{'first s':>10}{'warm s':>10}{'MiB':>9}{'GFLOP':>10}{'GFLOP/s':>9}{'share':>7}"]
    for name, row in report["stages"].items():
        figures = f"{row['first_seconds']:10.2f}{row['seconds']:10.4f}{_show(row['memory_mib'], '9.0f')}"
        lines.append(f"{name:18}{figures}{row['gflop']:10.2f}{row['gflops']:9.1f}{row['share']:7.0%}")
    lines.append(f"matrix products: {report['matmul_gflops']:.0f} GFLOP/s on {report['threads']} CPU threads")
    for what, seconds in report["seconds"].items():
        times = ", ".join(f"{name} {value:.4f} s" for name, value in seconds.items())
        lines.append(f"{what}: {times}")
    for name, value in report.items():
        if name.startswith("ratio_"):
            lines.append(f"{name:34}{_show(value, '8.2f')}")
    for name in ("seconds_per_picture", "cold_start_seconds", "peak_mib"):
        lines.append(f"{name:34}{_show(report[name], '8.3f' if 'seconds' in name else '8.0f')}")
    return lines


def growth_line(row: dict) -> str:
    """One row of the table of growth."""
    verdict = "" if row["fits"] else "  does not fit"
    figures = f"{_show(row['seconds'], '9.3f')} s {_show(row['peak_mib'], '8.0f')} MiB"
    return f"batch {row['batch']:3d} size {row['size']:5d} {figures}{verdict}"


def kernel_line(row: dict) -> str:
    """One row of the table of kernels: our milliseconds, and theirs / ours."""
    parts = [
        f"{part} {1e3 * row[part]['seconds']:8.2f} ms {row[part]['ratio']:6.2f}x" for part in row if part != "name"
    ]
    return f"{row['name']:24} " + "  ".join(parts)


def _show(value, form: str) -> str:
    return format("-", f">{form.split('.')[0]}") if value is None else format(value, form)
