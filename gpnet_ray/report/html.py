"""The HTML page of a run: one file, no script, nothing fetched from anywhere.

Every value that comes from the run is escaped. A cell that shows a number carries the number itself
in ``data-value``, in full precision, the same as in ``summary.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from gpnet_ray.report.panels import SECTIONS, Panel
from gpnet_ray.report.words import (
    NO_BREAK,
    UNKNOWN,
    counted,
    error_text,
    label_saving_sentence,
    network_sentence,
    percent_text,
    quantity_name,
    radius_sentence,
    result_rows,
    retraining_sentence,
)

__all__ = ["page_html"]

FAILURES_SHOWN = 100

# The browser itself refuses whatever is not in the file.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page_html(summary: Mapping[str, Any], panels: Sequence[Panel]) -> str:
    """Return the page as text.

    Args:
        summary: what :func:`gpnet_ray.report.summary.build_summary` returns.
        panels: the figures, from :func:`gpnet_ray.report.panels.draw_panels`.
    """
    title = f"{summary['name']} – gpnet_ray"
    style = resources.files("gpnet_ray.report").joinpath("page.css").read_text("utf-8")
    body = "\n".join(
        part
        for part in (
            _head(summary),
            _results(summary),
            *_figures(summary, panels),
            _picks(summary),
            _failed_labels(summary),
            _rejected(summary),
            _settings(summary),
        )
        if part
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(summary: Mapping[str, Any]) -> str:
    counts = summary["materials"]
    quantity = quantity_name(summary["target"], summary["unit"])
    return (
        f"<header>\n<h1>{escape(str(summary['name']))}</h1>\n"
        f'<p class="lead">{escape(quantity)} ({escape(summary["unit"])}) of '
        f"{counts['n_materials']:,} materials from {escape(summary['source'])}: "
        f"{counts['n_train']:,} labelled at the start, {counts['n_pool']:,} in the pool, "
        f"{counts['n_test']:,} test rows that are never picked.</p>\n"
        f'<p class="note"><strong>What the labels are:</strong> {escape(summary["label_note"])}</p>\n'
        "</header>"
    )


def _results(summary: Mapping[str, Any]) -> str:
    unit = summary["unit"]
    headings = ("Arm", "Labels bought", f"Test MAE ({unit})", f"Test RMSE ({unit})", "Test R²")
    rows = [
        (
            row.arm,
            _number(row.labels, f"{row.labels:,}"),
            _number(row.mae, error_text(row.mae)),
            _number(row.rmse, error_text(row.rmse)),
            _number(row.r2, error_text(row.r2)),
            _number(row.coverage_2sigma, percent_text(row.coverage_2sigma)),
            _number(row.unlabelled_mae, error_text(row.unlabelled_mae)),
        )
        for row in result_rows(summary)
    ]
    table = _table((*headings, "Within 2σ", f"MAE on the unlabelled ({unit})"), rows)
    network = network_sentence(summary)
    sentences = [
        *(label_saving_sentence(saving, unit) for saving in summary["label_saving"]),
        *([network] if network else []),
        *(
            retraining_sentence(arm["strategy"], retraining, unit)
            for arm in summary["arms"]
            for retraining in arm["retrainings"]
        ),
        *(radius_sentence(arm["radius"]) for arm in summary["arms"] if arm["radius"]),
        *(f"GP: {warning}" for warning in summary["gp"]["warnings"]),
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
    return _section("Results", f'{table}\n<ul>\n{items}</ul>\n<p class="small">{escape(notes)}</p>')


def _figures(summary: Mapping[str, Any], panels: Sequence[Panel]) -> Iterator[str]:
    for section, heading in SECTIONS.items():
        mine = [panel for panel in panels if panel.section == section]
        if mine:
            figures = "\n".join(
                f"<figure>\n{panel.svg}\n<figcaption>{escape(panel.caption)}</figcaption>\n</figure>"
                for panel in mine
            )
            yield _section(heading, f'<div class="panels">\n{figures}\n</div>')


def _picks(summary: Mapping[str, Any]) -> str:
    blocks = []
    for arm in summary["arms"]:
        first, last = arm["first_picks"], arm["last_picks"]
        if not first:
            continue
        rows = [_pick_cells(pick) for pick in first]
        left_out = arm["picks"] - len(first) - len(last)
        if left_out > 0:
            rows.append((f"… {left_out:,} more in picks.parquet",))
        rows += [_pick_cells(pick) for pick in last]
        unit = summary["unit"]
        headings = ["Cycle", "Id", "Formula", f"σ ({unit})", f"Label ({unit})"]
        if "residual" in first[0]:
            headings.append(f"Label − prediction ({unit})")
        title = escape(f"{arm['strategy']}: {counted(arm['picks'], 'pick')}")
        blocks.append(
            f"<details open>\n<summary>{title}</summary>\n{_table(headings, rows)}\n</details>"
        )
    return (
        _section("First and last picks", f'<div class="panels wide">{"".join(blocks)}</div>')
        if blocks
        else ""
    )


def _pick_cells(pick: Mapping[str, Any]) -> tuple[Any, ...]:
    label = pick["label"]
    cells: tuple[Any, ...] = (
        _number(pick["cycle"], f"{pick['cycle']:,}"),
        pick["material_id"],
        pick["formula"],
        _number(pick["sigma"], error_text(pick["sigma"])),
        pick["status"] if label is None else _number(label, error_text(label)),
    )
    if "residual" in pick:
        cells += (_number(pick["residual"], error_text(pick["residual"])),)
    return cells


def _failed_labels(summary: Mapping[str, Any]) -> str:
    failed = summary["failed_labels"]
    if not failed:
        return ""
    rows: list[tuple[Any, ...]] = [
        (
            f["strategy"],
            _number(f["cycle"], f"{f['cycle']:,}"),
            f["material_id"],
            f["formula"],
            f["status"],
            f["reason"],
            _number(f["tries"], str(f["tries"])),
        )
        for f in failed[:FAILURES_SHOWN]
    ]
    if len(failed) > FAILURES_SHOWN:
        rows.append((f"… {len(failed) - FAILURES_SHOWN:,} more in picks.parquet",))
    table = _table(("Arm", "Cycle", "Id", "Formula", "Status", "Reason", "Tries"), rows)
    count = counted(len(failed), "picked material")
    text = f"{count} got no label: set aside, never counted as labels."
    return _section("Failed labels", f"<p>{escape(text)}</p>\n{table}")


def _rejected(summary: Mapping[str, Any]) -> str:
    rejected = summary["rejected"]
    if not rejected["count"]:
        return ""
    rows = [
        (
            category,
            _number(row["count"], f"{row['count']:,}"),
            *(row["example_id"], row["example_reason"], row["example_where"]),
        )
        for category, row in rejected["by_category"].items()
    ]
    table = _table(("Reason", "Materials", "Example", "Its detail", "Where"), rows)
    text = (
        f"{counted(rejected['count'], 'material')} of the input could not be used; "
        "rejected.csv has them all."
    )
    return _section("Rejected materials", f"<p>{escape(text)}</p>\n{table}")


def _settings(summary: Mapping[str, Any]) -> str:
    units = dict.fromkeys(("amplitude", "noise_std", "mean"), summary["unit"])
    units["length_scale"] = "scaled latent space"
    gp = {
        f"{name} ({units[name]})" if name in units else name: value
        for name, value in summary["gp"]["hyperparameters"].items()
    }
    gp["likelihood evaluations"] = summary["gp"]["evaluations"]
    run = {"started": summary["started"], "command": summary["command"], **summary["machine"]}
    seconds = {
        stage: f"{value:,.1f} s" if isinstance(value, (int, float)) else value
        for stage, value in summary["timings_s"].items()
    }
    blocks = [
        f"<details{' open' if opened else ''}>\n<summary>{heading}</summary>\n"
        f"{_key_values(content)}\n</details>"
        for heading, content, opened in (
            ("Gaussian process, fitted", gp, True),
            ("Time taken", seconds, True),
            ("Run and machine", run, False),
            ("Versions", summary["versions"], False),
            ("Configuration", summary["settings"], False),
        )
        if content
    ]
    return _section("Settings and versions", f'<div class="panels">{"".join(blocks)}</div>')


def _key_values(content: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>\n"
        for key, value in _flat(content)
    )
    return f'<div class="scroll"><table class="pairs">\n{rows}</table></div>'


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(map(_short, value))
        else:
            yield f"{prefix}{key}", _short(value)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return UNKNOWN if value is None else str(value)


class _Number:
    """A number in a cell: what is shown and what it is."""

    def __init__(self, value: float | None, shown: str) -> None:
        self.value, self.shown = value, shown


def _number(value: float | None, shown: str) -> _Number:
    return _Number(value, shown)


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Lay out text and numbers; a row of a single cell runs over the whole width."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headings)
    body = "".join(f"<tr>{_cells(row, len(headings))}</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>"
    )


def _cells(row: Sequence[Any], width: int) -> str:
    if len(row) == 1:
        return f'<td class="gap" colspan="{width}">{escape(str(row[0]))}</td>'
    return "".join(
        f'<td class="number" data-value="{"" if cell.value is None else repr(cell.value)}">'
        f"{escape(cell.shown)}</td>"
        if isinstance(cell, _Number)
        else f"<td>{escape(str(cell))}</td>"
        for cell in row
    )


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>"
