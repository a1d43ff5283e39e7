"""``gpnet-ray run --repeats N``: the same run with several seeds."""

from __future__ import annotations

import typer
from rich.console import Console

from gpnet_ray.commands.interrupted import say_interrupted
from gpnet_ray.config import Config

__all__ = ["repeat_run"]


def repeat_run(
    config: Config, *, repeats: int, resume: bool, overwrite: bool, retry_failed: bool
) -> None:
    """Run all seeds and print what they say together.

    Raises:
        KeyboardInterrupt: after a line that says how to go on.
    """
    from gpnet_ray.campaign.repeats import check_repeats, repeats_folder, run_repeats
    from gpnet_ray.data import hypothetical_oxides
    from gpnet_ray.progress import make_progress
    from gpnet_ray.report.repeats_table import repeats_table

    console = Console()
    check_repeats(config, repeats)
    folder = repeats_folder(config, str(config.data.dataset or hypothetical_oxides.SOURCE))
    try:
        result = run_repeats(
            config=config,
            repeats=repeats,
            resume=resume,
            overwrite=overwrite,
            retry_failed=retry_failed,
            progress=make_progress(console),
        )
    except KeyboardInterrupt:
        say_interrupted(folder.path, has_begun=any(folder.path.glob("seed-*/journal.jsonl")))
        raise
    console.print(repeats_table(result.summary, width=console.width), crop=False)
    for name, path in (("Summary", result.run_dir / "summary.json"), ("All seeds", result.page)):
        typer.echo(f"{name}: {path}")
