"""``planet-ros report`` and ``compare``: pages by which a person can judge runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from planet_ros.errors import UserError
from planet_ros.files import write_whole

REPORT_FILE, COMPARISON_FILE = "report.html", "comparison.html"


def add_evidence_commands(
    command: Callable[..., argparse.ArgumentParser], path: Callable[[str], Path]
) -> None:
    """Add both to the parser.

    Args:
        command: Adds a command by its name, what it does in a line, and examples.
        path: Makes a path of a text.
    """
    report = command(
        "report",
        "write one HTML page by which a person can judge a run, or a bundle",
        """
  planet-ros report runs/pendulum
  planet-ros report runs/pendulum/model --output model.html

Learning curves, errors of predictions 1 to H steps ahead and whether the model knows them, fields
predicted beside real ones, the best and the worst episode, returns, planning time on this machine,
where the experience lies, settings, versions and hashes. The page needs nothing but itself. What of
a run is damaged is named on it.""",
    )
    report.add_argument("folder", type=path, metavar="RUN|BUNDLE", help="folder of it")
    report.add_argument(
        "--output", type=path, help="the page (default: RUN/report.html, BUNDLE-report.html)"
    )

    compare = command(
        "compare",
        "write one HTML page with the learning curves of several runs",
        """
  planet-ros compare runs/a runs/b
  planet-ros compare runs/seed-* --output seeds.html

Runs whose settings differ by nothing but the seed are one group, with a mean curve; a table says in
what the others differ, and what each reached.""",
    )
    compare.add_argument("runs", type=path, nargs="+", metavar="RUN", help="folders of runs")
    compare.add_argument("--output", type=path, help="the page (default: comparison.html)")


def report(options: argparse.Namespace) -> int:
    """``planet-ros report``."""
    from planet_ros.report.report import report_page

    path = options.folder
    # A bundle is what its manifest says: nothing is put into it.
    beside = path.parent / f"{path.name}-{REPORT_FILE}"
    default = beside if (path / "manifest.json").exists() else path / REPORT_FILE
    return _write(report_page(path), options.output or default)


def compare(options: argparse.Namespace) -> int:
    """``planet-ros compare``."""
    from planet_ros.report.comparison import comparison_page

    return _write(comparison_page(options.runs), options.output or Path(COMPARISON_FILE))


def _write(page: str, path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page.encode())
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror}; name another file with --output"
        ) from None
    print(path)
    print(f"open it with a browser; it needs no network ({len(page) // 1000} kB)", file=sys.stderr)
    return 0
