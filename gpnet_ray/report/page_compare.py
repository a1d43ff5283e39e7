"""Several runs on one page: what each arm of each run came to, and in what the runs differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.comparison import LearningCurve, compare_two
from gpnet_ray.report.finished_run import FinishedRun, read_finished_run
from gpnet_ray.report.html_charts import (
    arm_curves,
    charts_data,
    charts_section,
    data_element,
    page_scripts,
)
from gpnet_ray.report.html_parts import Section, document, error_number, flat_texts, number, table
from gpnet_ray.report.page import write_text
from gpnet_ray.report.stage_times import total_seconds
from gpnet_ray.report.style import BLACK, BLUE, GREEN, GREY, VERMILLION
from gpnet_ray.report.summary import learning_curve, summarise
from gpnet_ray.report.words import (
    UNKNOWN,
    counted,
    label_saving_sentence,
    percent_text,
    progress_sentences,
    quantity_name,
    result_rows,
)

__all__ = ["write_comparison"]

COLOURS = (BLUE, VERMILLION, GREEN, "#CC79A7", BLACK, "#56B4E9", GREY)
"""Of the runs; their arms differ by the line."""

NOT_COMPARED = ("name", "runs_dir")


@dataclass(frozen=True)
class _Run:
    """One of the runs that are compared: what it is called here, its files, its summary."""

    name: str
    files: FinishedRun
    summary: Mapping[str, Any]


def write_comparison(run_dirs: Sequence[Path], out: Path) -> Path:
    """Write one page about several runs of the same target; the runs are only read.

    Runs whose test rows differ stand on one page all the same, and the page says that their errors were
    measured on different materials.

    Args:
        run_dirs: Folders of runs, two or more; they need not be finished.
        out: The HTML file; what stands there is replaced.

    Returns:
        ``out``.

    Raises:
        InputError: fewer than two runs, one named twice, runs of different targets or units, or ``out``
            is a folder.
        RunFolderError: a folder or one of its files is missing or unusable.
    """
    if out.is_dir():
        raise InputError(
            f"{out} is a folder; name the file to write, such as {out / 'compare.html'}"
        )
    runs = _read(run_dirs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, comparison_html(runs))
    return out


def _read(run_dirs: Sequence[Path]) -> list[_Run]:
    places = [path.resolve() for path in run_dirs]
    if len(set(places)) < len(places):
        raise InputError(f"{' '.join(map(str, run_dirs))} names a run twice; name each once")
    if len(places) < 2:
        raise InputError("give two runs or more; gpnet-ray report draws a single one")
    files = [read_finished_run(path) for path in run_dirs]
    for key, advice in (
        ("target", "compare runs of one property"),
        ("unit", "run one of them again with the unit of the other"),
    ):
        differing = {run.info[key] for run in files}
        if len(differing) > 1:
            listing = ", ".join(f"{run.path}: {run.info[key]!r}" for run in files)
            raise InputError(
                f"these runs are not of the same {key} ({listing}), so their errors cannot be"
                f" compared; {advice}"
            )
    summaries = [summarise(run) for run in files]
    names = [str(summary["name"]) for summary in summaries]
    if len(set(names)) < len(names):
        names = [str(path) for path in run_dirs]
    return [_Run(*parts) for parts in zip(names, files, summaries, strict=True)]


def comparison_html(runs: Sequence[_Run]) -> str:
    """Return the page as text."""
    unit = runs[0].summary["unit"]
    curves = [
        curve
        for run, colour in zip(runs, itertools.cycle(COLOURS), strict=False)
        for curve in arm_curves(
            run.files,
            names={arm: f"{run.name}: {arm}" for arm in run.files.arms},
            colour=colour,
        )
    ]
    charts = charts_data(curves, unit=unit)
    sections = (_results(runs), charts_section(charts), _differences(runs), _about(runs))
    return document(
        title=f"{counted(len(runs), 'run')} compared – gpnet_ray",
        header=_head(runs),
        sections=[section for section in sections if section is not None],
        scripts=page_scripts(),
        data=data_element(charts),
    )


def _head(runs: Sequence[_Run]) -> str:
    summary = runs[0].summary
    quantity = quantity_name(summary["target"], summary["unit"])
    warnings = "".join(f"<p>{escape(text)}</p>\n" for text in _warnings(runs))
    notes = dict.fromkeys(run.summary["label_note"] for run in runs)
    labels = escape(next(iter(notes)))
    if len(notes) > 1:
        items = (f"{run.name}: {run.summary['label_note']}" for run in runs)
        labels = "\n<ul>\n" + "".join(f"<li>{escape(item)}</li>\n" for item in items) + "</ul>"
    return (
        f"<header>\n<h1>{counted(len(runs), 'run')} compared</h1>\n"
        f'<p class="lead">{escape(quantity)} ({escape(summary["unit"])}); '
        f"{escape(', '.join(run.name for run in runs))}.</p>\n"
        + (f'<div class="warning" id="warnings">\n{warnings}</div>\n' if warnings else "")
        + f'<div class="note"><strong>What the labels are:</strong> {labels}</div>\n</header>'
    )


def _warnings(runs: Sequence[_Run]) -> Iterator[str]:
    for run in runs:
        sentences = progress_sentences(run.summary["progress"])
        if sentences:
            yield f"{run.name} is not finished. {sentences[0]}"
    if not _same_test_rows(runs):
        yield (
            "The test rows of these runs are not the same materials, or have other labels: a "
            "difference between their errors may come from that alone. The same split (seed, dataset "
            "and sizes) makes them comparable."
        )
    if len({run.summary["label_note"] for run in runs}) > 1:
        yield "The labels of these runs are not of the same origin; see below what they are."


def _test_rows(run: FinishedRun) -> dict[str, float]:
    predictions = run.predictions
    first = predictions["strategy"] == (run.arms[0] if run.arms else "")
    rows = first & (predictions["stage"] == "before")
    ids, targets = predictions["material_id"][rows], predictions["target"][rows]
    return dict(zip(ids.tolist(), targets.tolist(), strict=True))


def _same_test_rows(runs: Sequence[_Run]) -> bool:
    """Whether all that have got so far measure on the same materials and labels."""
    known = [rows for run in runs if (rows := _test_rows(run.files))]
    return all(rows == known[0] for rows in known)


def _results(runs: Sequence[_Run]) -> Section:
    unit = runs[0].summary["unit"]
    rows = [
        (
            *(run.name, row.arm),
            number(row.labels),
            *(error_number(value) for value in (row.mae, row.rmse, row.r2)),
            number(row.coverage_2sigma, percent_text(row.coverage_2sigma)),
            error_number(row.unlabelled_mae),
        )
        for run in runs
        if run.summary["arms"]
        for row in result_rows(run.summary)
    ]
    headings = (
        *("Run", "Arm", "Labels bought", f"Test MAE ({unit})", f"Test RMSE ({unit})", "Test R²"),
        *("Within 2σ", f"MAE on the unlabelled ({unit})"),
    )
    items = "".join(f"<li>{escape(text)}</li>\n" for text in _sentences(runs))
    return Section(
        "results", "Results", f"{table(headings, rows, sortable=True)}\n<ul>\n{items}</ul>"
    )


def _sentences(runs: Sequence[_Run]) -> Iterator[str]:
    """Say what the arms of each run saved, and what each run saved over the first one by the same arm."""
    unit = runs[0].summary["unit"]
    for run in runs:
        for saving in run.summary["label_saving"]:
            yield f"{run.name}: {label_saving_sentence(saving, unit)}"
    if not _same_test_rows(runs):
        return
    first, *others = runs
    for other in others:
        for arm in first.files.arms:
            curves = [_named_curve(run, arm) for run in (first, other) if arm in run.files.arms]
            known = [curve for curve in curves if curve is not None]
            if len(known) == 2 and known[0].n_labelled[0] == known[1].n_labelled[0]:
                saving = compare_two(*known, measure="test")
                yield label_saving_sentence(vars(saving), unit)


def _named_curve(run: _Run, arm: str) -> LearningCurve | None:
    curve = learning_curve(run.files, arm, "test")
    if curve is None:
        return None
    return LearningCurve(f"{arm} of {run.name}", curve.n_labelled, curve.error)


def _differences(runs: Sequence[_Run]) -> Section:
    """Return the settings, versions and sizes in which the runs differ."""
    columns = [
        dict(
            itertools.chain(
                ((k, v) for k, v in flat_texts(run.summary["settings"]) if k not in NOT_COMPARED),
                flat_texts(run.summary["materials"], "materials."),
                flat_texts(run.summary["versions"], "versions."),
            )
        )
        for run in runs
    ]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [
        (key, *(column.get(key, UNKNOWN) for column in columns))
        for key in keys
        if len({column.get(key, UNKNOWN) for column in columns}) > 1
    ]
    if not rows:
        return Section("differences", "In what they differ", "<p>All settings are the same.</p>")
    text = "Settings, sizes and versions that are not the same in all of these runs."
    listing = table(("Setting", *(run.name for run in runs)), rows)
    return Section("differences", "In what they differ", f"<p>{text}</p>\n{listing}")


def _about(runs: Sequence[_Run]) -> Section:
    rows = [
        (
            run.name,
            str(run.files.path),
            run.summary["source"],
            str(run.summary["started"] or UNKNOWN),
            number(_seconds(run), f"{_seconds(run):,.0f}"),
        )
        for run in runs
    ]
    headings = ("Run", "Folder", "Materials from", "Started", "Time taken (s)")
    return Section("runs", "The runs", table(headings, rows))


def _seconds(run: _Run) -> float:
    return total_seconds(run.summary["timings_s"])
