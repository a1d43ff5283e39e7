"""The HTML page of a run: one file that fetches nothing from anywhere.

Every value that comes from the run is escaped. A cell that shows a number carries the number itself
in ``data-value``, in full precision, the same as in ``summary.json``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.html_charts import (
    arm_curves,
    charts_data,
    charts_section,
    data_element,
    page_scripts,
)
from gpnet_ray.report.html_map import map_data
from gpnet_ray.report.html_parts import (
    Section,
    document,
    error_number,
    key_values,
    number,
    table,
)
from gpnet_ray.report.html_picks import picks_section
from gpnet_ray.report.html_sigma import enrichment_tables, sigma_tables
from gpnet_ray.report.panels import SECTIONS, Panel
from gpnet_ray.report.stage_times import stage_times
from gpnet_ray.report.words import (
    NO_BREAK,
    counted,
    failed_labels_text,
    gp_warning_sentences,
    label_saving_sentence,
    network_sentence,
    percent_text,
    progress_sentences,
    quantity_name,
    radius_sentence,
    result_rows,
    retraining_sentence,
)

__all__ = ["figure_html", "page_html", "results_table"]

FAILURES_SHOWN = 100

SVG_UNTIL_BYTES = 150_000
"""A larger figure, of thousands of points, comes into the page as PNG where that is smaller."""


def page_html(
    run: FinishedRun, summary: Mapping[str, Any], panels: Sequence[Panel], folder: Path
) -> str:
    """Return the page as text.

    Args:
        run: what the run left.
        summary: what :func:`gpnet_ray.report.summary.summarise` makes of it.
        panels: the figures, from :func:`gpnet_ray.report.panels.draw_panels`.
        folder: where the figures lie as files.
    """
    charts = charts_data(arm_curves(run), unit=summary["unit"], latent_map=map_data(run, folder))
    sections = (
        _results(summary),
        charts_section(charts),
        *_figures(panels, folder, summary),
        picks_section(run, summary["unit"]),
        _failed_labels(summary),
        _rejected(summary),
        _settings(summary),
    )
    return document(
        title=f"{summary['name']} – gpnet_ray",
        header=_head(summary),
        sections=[section for section in sections if section is not None],
        scripts=page_scripts(),
        data=data_element(charts),
    )


def _head(summary: Mapping[str, Any]) -> str:
    counts = summary["materials"]
    quantity = quantity_name(summary["target"], summary["unit"])
    state = "".join(
        f"<p>{'<strong>Not finished.</strong> ' if first == 0 else ''}{escape(sentence)}</p>\n"
        for first, sentence in enumerate(progress_sentences(summary["progress"]))
    )
    unfinished = f'<div class="warning" id="not-finished">\n{state}</div>\n' if state else ""
    return (
        f"<header>\n<h1>{escape(str(summary['name']))}</h1>\n"
        f'<p class="lead">{escape(quantity)} ({escape(summary["unit"])}) of '
        f"{counts['n_materials']:,} materials from {escape(summary['source'])}. "
        f"{counts['n_train']:,} are labelled at the start, {counts['n_pool']:,} in the pool, and "
        f"{counts['n_test']:,} are test rows that are never picked.</p>\n{unfinished}"
        f'<p class="note"><strong>What the labels are:</strong> {escape(summary["label_note"])}</p>\n'
        "</header>"
    )


def results_table(summary: Mapping[str, Any]) -> str:
    """Return the errors before the loop and after every arm as a table."""
    unit = summary["unit"]
    headings = ("Arm", "Labels bought", f"Test MAE ({unit})", f"Test RMSE ({unit})", "Test R²")
    rows = [
        (
            row.arm,
            number(row.labels),
            *(error_number(value) for value in (row.mae, row.rmse, row.r2)),
            number(row.coverage_2sigma, percent_text(row.coverage_2sigma)),
            error_number(row.unlabelled_mae),
        )
        for row in result_rows(summary)
    ]
    return table((*headings, "Within 2σ", f"MAE on the unlabelled ({unit})"), rows)


def _results(summary: Mapping[str, Any]) -> Section | None:
    if not summary["arms"]:
        return None
    unit, network = summary["unit"], network_sentence(summary)
    sentences = [
        *(label_saving_sentence(saving, unit) for saving in summary["label_saving"]),
        *([network] if network else []),
        *(
            retraining_sentence(arm["strategy"], retraining, unit)
            for arm in summary["arms"]
            for retraining in arm["retrainings"]
        ),
        *(radius_sentence(arm["radius"]) for arm in summary["arms"] if arm["radius"]),
        *gp_warning_sentences(summary),
    ]
    items = "".join(f"<li>{escape(sentence)}</li>\n" for sentence in sentences)
    notes = (
        "Within 2σ: share of the test rows whose label lies within two predicted standard "
        f"deviations of the prediction; about 95{NO_BREAK}% where σ is right."
    )
    if all(arm["unlabelled"]["after"]["mae"] is None for arm in summary["arms"]):
        notes += (
            " The error on unlabelled materials is unknown: their labels are not known to the run."
        )
    return Section(
        "results",
        "Results",
        f'{results_table(summary)}\n<ul>\n{items}</ul>\n<p class="small">{escape(notes)}</p>',
    )


def _figures(
    panels: Sequence[Panel], folder: Path, summary: Mapping[str, Any]
) -> Iterator[Section]:
    """Yield the figures group by group, below the tables that belong to a group."""
    tables = {"sigma": sigma_tables(summary), "enrichment": enrichment_tables(summary)}
    for key, heading in SECTIONS.items():
        figures = "\n".join(figure_html(p, folder) for p in panels if p.section == key)
        content = tables.get(key, "")
        if figures:
            content += f'<div class="panels">\n{figures}\n</div>'
        if content:
            yield Section(key, heading, content)


def figure_html(panel: Panel, folder: Path) -> str:
    """Return one figure with its caption, as SVG or, where that is large and a PNG smaller, as PNG."""
    caption, picture = escape(panel.caption), panel.svg
    if len(picture) > SVG_UNTIL_BYTES:
        png = base64.b64encode((folder / f"{panel.name}.png").read_bytes()).decode()
        image = f'<img src="data:image/png;base64,{png}" alt="{caption}">'
        picture = min(picture, image, key=len)
    return f"<figure>\n{picture}\n<figcaption>{caption}</figcaption>\n</figure>"


def _failed_labels(summary: Mapping[str, Any]) -> Section | None:
    failed = summary["failed_labels"]
    if not failed:
        return None
    rows: list[tuple[Any, ...]] = [
        (
            f["strategy"],
            number(f["cycle"]),
            *(f[name] for name in ("material_id", "formula", "status", "reason")),
            number(f["tries"]),
        )
        for f in failed[:FAILURES_SHOWN]
    ]
    if len(failed) > FAILURES_SHOWN:
        rows.append((f"… {len(failed) - FAILURES_SHOWN:,} more in picks.parquet",))
    listing = table(("Arm", "Cycle", "Id", "Formula", "Status", "Reason", "Tries"), rows)
    text = f"{failed_labels_text(failed)}: set aside, never counted as labels."
    return Section("failed", "Failed labels", f"<p>{escape(text)}</p>\n{listing}")


def _rejected(summary: Mapping[str, Any]) -> Section | None:
    rejected = summary["rejected"]
    if not rejected["count"]:
        return None
    rows = [
        (
            category,
            number(row["count"]),
            *(row["example_id"], row["example_reason"], row["example_where"]),
        )
        for category, row in rejected["by_category"].items()
    ]
    listing = table(("Reason", "Materials", "Example", "Its detail", "Where"), rows)
    text = (
        f"{counted(rejected['count'], 'material')} of the input could not be used; "
        "rejected.csv has them all."
    )
    return Section("rejected", "Rejected materials", f"<p>{escape(text)}</p>\n{listing}")


def _settings(summary: Mapping[str, Any]) -> Section:
    units = dict.fromkeys(("amplitude", "noise_std", "mean"), summary["unit"])
    units["length_scale"] = "scaled latent space"
    gp = {
        f"{name} ({units[name]})" if name in units else name: value
        for name, value in summary["gp"]["hyperparameters"].items()
    }
    if gp:
        gp["likelihood evaluations"] = summary["gp"]["evaluations"]
    run = {"started": summary["started"], "command": summary["command"], **summary["machine"]}
    blocks = [
        f"<details{' open' if opened else ''}>\n<summary>{heading}</summary>\n"
        f"{key_values(content)}\n</details>"
        for heading, content, opened in (
            ("Gaussian process, fitted", gp, True),
            ("Time taken", _times(summary["timings_s"]), True),
            ("Run and machine", run, False),
            ("Versions", summary["versions"], False),
            ("Configuration", summary["settings"], False),
        )
        if content
    ]
    return Section(
        "settings", "Settings and versions", f'<div class="panels">{"".join(blocks)}</div>'
    )


def _times(timings: Mapping[str, float]) -> dict[str, str]:
    """List the stages, below each what was done within it."""
    listed = {}
    for stage in stage_times(timings):
        listed[stage.name] = f"{stage.seconds:,.1f} s"
        listed |= {f"of which {part.name}": f"{part.seconds:,.1f} s" for part in stage.parts}
    return listed
