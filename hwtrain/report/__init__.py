"""The report of a finished run: one page that opens anywhere, and every figure as SVG, PDF and CSV."""

from __future__ import annotations

from pathlib import Path

from hwtrain.files import make_folder, write_file

PAGE = "report.html"
FIGURES = "figures"


def write_report(run: Path) -> Path:
    """Write ``run/report.html`` and ``run/figures/`` from what the run folder holds.

    The same run makes the same bytes. RunError for a folder that is missing, damaged or not finished;
    nothing is written then.
    """
    from hwtrain.report.html import page
    from hwtrain.report.plots import plots
    from hwtrain.report.run_folder import read_run

    found = read_run(run)
    drawn = plots(found)
    make_folder(run / FIGURES)
    for plot in drawn:
        for ending, content in (("svg", plot.svg), ("pdf", plot.pdf()), ("csv", plot.csv())):
            write_file(run / FIGURES / f"{plot.name}.{ending}", content)
    write_file(run / PAGE, page(found, drawn))
    return run / PAGE
