"""The table that the demo prints."""

from __future__ import annotations

from .measure import Run


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _bytes(count: int) -> str:
    if count == 0:
        return "0"
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000  # type: ignore[assignment]
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def table(runs: list[Run], idle: int, peak: int, cold_at: str | None) -> str:
    """``cold_at``: when the cold run was made, if not just now."""
    rows: list[tuple[str, list[str]]] = [
        ("message -> first step", [_time(r.first_step) for r in runs]),
        *((name, [_time(r.steps[name]) for r in runs]) for name in ("checkout", "setup-buildx", "login")),
        ("build", [_time(r.build) for r in runs]),
        ("push", [_time(r.push) for r in runs]),
        ("total (message -> complete)", [_time(r.total) for r in runs]),
        ("layers built / reused", [f"{r.built} / {r.reused}" for r in runs]),
        ("bytes uploaded", [_bytes(r.uploaded) for r in runs]),
        ("digest in the registry", [r.digest[7:19] for r in runs]),
    ]
    heads = ["run 1: cold" + (f" ({cold_at})" if cold_at else ""), "run 2: same commit", "run 3: one line changed"]
    first = max(len(name) for name, _ in rows)
    widths = [max(len(heads[i]), *(len(cells[i]) for _, cells in rows)) for i in range(3)]
    lines = ["  ".join([" " * first, *(head.rjust(width) for head, width in zip(heads, widths))])]
    lines.append("-" * len(lines[0]))
    lines += ["  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, widths))]) for name, cells in rows]
    lines += ["", f"agent: {idle / 1024:.1f} MB idle, {peak / 1024:.1f} MB at most; pushed: {runs[-1].digest}"]
    return "\n".join(lines)
