"""Numbers as people read them: one formatting for the page, the figures and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "NO_BREAK",
    "UNKNOWN",
    "ResultRow",
    "comparison_of_curves",
    "counted",
    "error_text",
    "failed_labels_text",
    "gp_warning_sentences",
    "label_saving_sentence",
    "network_sentence",
    "percent_text",
    "progress_sentences",
    "quantity_name",
    "radius_sentence",
    "rejected_sentence",
    "result_rows",
    "retraining_sentence",
    "seconds_text",
    "spread_text",
]

UNKNOWN = "–"
NO_BREAK = "\u00a0"
MEASURED_ON = {"test": "test rows", "unlabelled": "materials that were still unlabelled"}


def quantity_name(target: str, unit: str) -> str:
    """Name a target for people: without underscores and without what the unit says already.

    >>> quantity_name("formation_energy_per_atom", "eV/atom")
    'Formation energy'
    >>> quantity_name("band_gap", "eV")
    'Band gap'
    """
    name = target.replace("_", " ").strip()
    if unit.endswith("/atom"):
        name = name.removesuffix(" per atom")
    return name[:1].upper() + name[1:] if name else target


def error_text(value: float | None) -> str:
    """Four decimals for numbers of ordinary size, four significant digits for others.

    >>> error_text(0.09090), error_text(1234.5), error_text(0.0), error_text(None)
    ('0.0909', '1234', '0.0000', '–')
    """
    if value is None:
        return UNKNOWN
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 100 else f"{value:.4g}"


def spread_text(mean: float, spread: float) -> str:
    """Write an error that is a mean, with its spread to as many decimals.

    >>> spread_text(0.0023, 0.00096), spread_text(1234.5, 7.7)
    ('0.0023 ± 0.0010', '1234 ± 8')
    """
    text = error_text(mean)
    decimals = len(text.partition(".")[2])
    return f"{text} ± {error_text(spread) if 'e' in text else f'{spread:.{decimals}f}'}"


def percent_text(fraction: float | None) -> str:
    """Write a fraction as a percentage with one decimal; the sign stays on the number's line.

    >>> percent_text(0.88) == "88.0" + NO_BREAK + "%"
    True
    """
    return UNKNOWN if fraction is None else f"{100 * fraction:.1f}{NO_BREAK}%"


def seconds_text(value: float | None) -> str:
    """Write a time (s) with as many decimals as tell something.

    >>> seconds_text(0.0123), seconds_text(17.32), seconds_text(7210.4), seconds_text(None)
    ('0.012', '17.3', '7,210', '–')
    """
    if value is None:
        return UNKNOWN
    decimals = 3 if value < 1 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    >>> counted(1, "label"), counted(1500, "label")
    ('1 label', '1,500 labels')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class ResultRow:
    """One line of the result table: an arm at one stage.

    Attributes:
        arm: what the line is about.
        labels: labels bought until then.
        mae, rmse, r2, coverage_2sigma, miscalibration_area: on the test rows.
        unlabelled_mae: MAE on what the arm has not labelled yet.
    """

    arm: str
    labels: int
    mae: float | None
    rmse: float | None
    r2: float | None
    coverage_2sigma: float | None
    miscalibration_area: float | None
    unlabelled_mae: float | None


def result_rows(summary: Mapping[str, Any]) -> tuple[ResultRow, ...]:
    """Return the lines of the result table: the common start, then every arm at its end.

    Arms that started from different numbers get a line ``before`` each.
    """
    arms = summary["arms"]
    starts = [_row(arm, "before", f"{arm['strategy']}, before") for arm in arms]
    if len({_numbers(row) for row in starts}) == 1:
        starts = [_row(arms[0], "before", "before the loop")]
    return (*starts, *(_row(arm, "after", arm["strategy"]) for arm in arms))


def network_sentence(summary: Mapping[str, Any]) -> str | None:
    """State the error of the network's own output layer; ``None`` where the run did not measure it."""
    mae = summary["network"]["test_mae"]
    if mae is None:
        return None
    return f"The network's own output has a test MAE of {error_text(mae)} {summary['unit']}."


def retraining_sentence(arm: str, retraining: Mapping[str, Any], unit: str) -> str:
    """Say what one training of the network again brought."""
    how = "from scratch" if retraining["start"] == "scratch" else "warm"
    old, new = (error_text(retraining[f"{which}_validation_mae"]) for which in ("old", "new"))
    kept = "" if retraining["kept"] == "new" else " The old network was kept."
    return (
        f"{arm}: the network was trained again on {counted(retraining['n_labelled'], 'label')} ({how},"
        f" {counted(retraining['epochs'], 'epoch')}, {retraining['seconds']:.0f} s): validation MAE {old}"
        f" {unit} before, {new} {unit} after; its own output has a test MAE of"
        f" {error_text(retraining['network_test_mae'])} {unit}.{kept}"
    )


def gp_warning_sentences(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the warnings of the fit of every Gaussian process of a run, and say of which network it is."""
    later = (
        f"GP of {arm['strategy']}'s network {retraining['network']}"
        f" ({counted(retraining['n_labelled'], 'label')}): {warning}"
        for arm in summary["arms"]
        for retraining in arm["retrainings"]
        for warning in retraining["gp_warnings"]
    )
    return (*(f"GP of the first network: {w}" for w in summary["gp"]["warnings"]), *later)


def label_saving_sentence(saving: Mapping[str, Any], unit: str) -> str:
    """Say one comparison of two arms in words."""
    on = f"On the {MEASURED_ON[saving['measure']]}"
    if saving.get("before_last_training"):
        on += ", before the network was trained again at the end"
    return comparison_of_curves(saving, unit, on=on)


def comparison_of_curves(saving: Mapping[str, Any], unit: str, *, on: str) -> str:
    """Say how two learning curves compare, after a beginning that says which ones."""
    better, worse = saving["better"], saving["worse"]
    end = f"{error_text(saving['final_error_worse'])} {unit}"
    if saving["saving"] == 1.0 and not saving["relative_difference"]:
        return (
            f"{on}, {better} and {worse} ended at the same error ({end}) with equally many labels."
        )
    if saving["saving"] is None:
        return (
            f"{on}, {worse} ended ({end}) no better than {better} began, so there is no finite label "
            f"saving; {better} ended {percent_text(saving['relative_difference'])} lower "
            f"({error_text(saving['final_error_better'])} {unit})."
        )
    ending = (
        f"It ended {percent_text(saving['relative_difference'])} lower "
        f"({error_text(saving['final_error_better'])} {unit})."
        if saving["relative_difference"]
        else "Both ended at that error."
    )
    return (
        f"{on}, {better} reached the final error of {worse} ({end}) with {saving['labels_needed']:,} "
        f"labels where {worse} bought {saving['labels_bought']:,}: a label saving of "
        f"{saving['saving']:.1f}. {ending}"
    )


def radius_sentence(radius: Mapping[str, Any]) -> str:
    """Say whether an arm could keep the distance between its picks, and what it used instead."""
    arm = f"{radius['strategy']} (distances in the scaled latent space)"
    smallest = f"{radius['smallest_used']:.4g}"
    if radius["asked"] is None:
        return f"{arm}: the smallest distance kept between the picks of a batch was {smallest}."
    asked, shrunken = f"{radius['asked']:.4g}", len(radius["cycles_with_smaller_radius"])
    if radius["largest_asked"] > radius["asked"]:  # a share of length scales that were fitted again
        asked += f" to {radius['largest_asked']:.4g}"
    if not shrunken:
        return f"{arm}: the picks of every batch are at least {asked} apart, as asked."
    advice = (
        " That is far apart for this pool: selection.distance_cutoff sets a smaller one."
        if shrunken == radius["cycles"]
        else ""
    )
    return (
        f"{arm}: {asked} was asked, but in {shrunken:,} of {counted(radius['cycles'], 'cycle')} the "
        f"batch could not be filled with it; the smallest distance used was {smallest}.{advice}"
    )


def progress_sentences(progress: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Say how far a run has come that is not finished; nothing of one that is.

    Args:
        progress: ``progress`` of the summary, see :class:`gpnet_ray.report.run_progress.RunProgress`.
    """
    if progress is None:
        return ()
    n_asked, cycles = progress["cycles_asked"], progress["cycles"]
    under_way = next((arm for arm, n in cycles.items() if n < n_asked), None)
    arms = "; ".join(f"{arm}: cycle {n:,} of {n_asked:,}" for arm, n in cycles.items())
    if not progress["network_trained"]:
        state = "The network is not trained yet, and no cycle has begun."
    elif under_way is None:
        state = f"All cycles are done ({arms}); what comes after them is not."
    else:
        state = (
            f"The arm under way is {under_way} ({arms}; a cycle counts once its labels are taken in, which"
            " is done at least once a minute)."
        )
    pending = (
        f"; {counted(progress['pending'], 'material')} asked for have no answer yet"
        if progress["pending"]
        else ""
    )
    labels = (
        f"The oracle has given {counted(progress['labels'], 'value')}{pending}. The journal was last "
        f"written at {progress['changed']}."
    )
    advice = (
        "What is shown here is what there was then; gpnet-ray report draws it again, and gpnet-ray run "
        "--resume goes on where the run was stopped."
    )
    return (state, labels, advice)


def rejected_sentence(rejected: Mapping[str, Any]) -> str | None:
    """Say how many materials were left out and why; ``None`` where there are none.

    >>> rejected_sentence({"count": 3, "by_category": {"disordered": {"count": 3}}})
    '3 materials were left out: 3 disordered (rejected.csv).'
    """
    count = rejected["count"]
    if not count:
        return None
    kinds = ", ".join(
        f"{row['count']:,} {category}" for category, row in rejected["by_category"].items()
    )
    verb = "was" if count == 1 else "were"
    return f"{counted(count, 'material')} {verb} left out: {kinds} (rejected.csv)."


def failed_labels_text(failed: Sequence[Mapping[str, Any]]) -> str:
    """Say how many materials got no label; one that several arms picked is one material.

    >>> failed_labels_text([{"material_id": "mp-1"}, {"material_id": "mp-1"}, {"material_id": "mp-2"}])
    '2 picked materials got no label (3 picks, as several arms picked the same)'
    """
    materials = len({row["material_id"] for row in failed})
    text = f"{counted(materials, 'picked material')} got no label"
    if materials < len(failed):
        text += f" ({counted(len(failed), 'pick')}, as several arms picked the same)"
    return text


def _row(arm: Mapping[str, Any], stage: str, name: str) -> ResultRow:
    test = arm["test"][stage]
    return ResultRow(
        arm=name,
        labels=0 if stage == "before" else arm["labels_bought"],
        mae=test["mae"],
        rmse=test["rmse"],
        r2=test["r2"],
        coverage_2sigma=test["coverage_2sigma"],
        miscalibration_area=test["miscalibration_area"],
        unlabelled_mae=arm["unlabelled"][stage]["mae"],
    )


def _numbers(row: ResultRow) -> tuple[float | None, ...]:
    return (
        *(row.mae, row.rmse, row.r2, row.coverage_2sigma),
        *(row.miscalibration_area, row.unlabelled_mae),
    )
