#!/usr/bin/env python3
"""Submit a command to a Ray cluster as a job, follow its output, end with its exit code.

    python scripts/submit_job.py --working-dir . --fetch results -- gpnet-ray run --dataset oxides.parquet …

Ctrl-C asks what is to become of the job. docs/cluster.md says how clusters are started and where the token is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from gpnet_ray.campaign.storage import fetch_run, run_uri
from gpnet_ray.errors import GpnetError

CANNOT = 2
"""Exit code where nothing could be submitted, or what was asked for cannot be done."""
INTERRUPTED = 130
HERE = "http://127.0.0.1:8265"
"""Where a cluster of this machine, `ray dashboard` and SSH tunnels have it."""

RECONNECT_SECONDS = 120.0
LINE_WITH_REPORT = re.compile(r"^Report: (\S.*?)/report/index\.html\s*$", re.MULTILINE)
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(^|_)KEY(_|$)", re.IGNORECASE)


def main() -> int:
    """Do what the command line says; return the exit code."""
    options = _parse()
    try:
        runtime_env = _runtime_env(options.runtime_env, options.working_dir)
        if options.fetch is not None:
            _check_fetchable(options.command)
        client = _client(options.address)
        # The driver computes nothing: no GPU, and no CPU is kept from the actors for it.
        job = client.submit_job(entrypoint=shlex.join(options.command), runtime_env=runtime_env)
    except (AuthenticationError, OSError, RuntimeError, ValueError) as error:
        print(f"Error: not submitted: {error}", file=sys.stderr)
        return CANNOT
    print(f"Job {job} at {client.get_address()}", file=sys.stderr)
    followed = FollowedJob(client, job)
    try:
        code = followed.until_it_ends()
    except OSError as error:
        print(f"Error: {error}. The job may go on. {_how_to_go_on(job)}", file=sys.stderr)
        return 1
    if options.fetch is not None and code == 0:
        return _fetched(options.command, followed.output, options.fetch)
    return code


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], usage="%(prog)s [options] -- COMMAND …"
    )
    parser.add_argument(
        "--address",
        help=f"of the dashboard; default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS or {HERE}",
    )
    parser.add_argument(
        "--working-dir",
        help="folder (or zip URI) that the job starts in; what .gitignore names stays here",
    )
    parser.add_argument("--runtime-env", type=Path, metavar="FILE", help="YAML, as Ray has it")
    parser.add_argument(
        "--fetch", type=Path, metavar="DIR", help="copy the run's folder, with its report, into DIR"
    )
    parser.add_argument("command", nargs="+", help="gpnet-ray run …, or python driver.py …")
    return parser.parse_args()


def _client(address: str | None) -> JobSubmissionClient:
    """Reach the job API; an address that was given comes before those of the environment."""
    names = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
    found = next((os.environ[name] for name in names if os.environ.get(name)), HERE)
    # Ray itself lets the environment come first.
    os.environ["RAY_API_SERVER_ADDRESS"] = address or found
    return JobSubmissionClient(address or found)


def _runtime_env(file: Path | None, working_dir: str | None) -> dict[str, Any]:
    content: Any = {}
    if file is not None:
        try:
            content = yaml.safe_load(file.read_text("utf-8")) or {}
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{file} is not YAML: {error}") from None
        if not isinstance(content, dict):
            raise ValueError(f"{file} holds a {type(content).__name__}; a mapping is needed")
    secret = [name for name in content.get("env_vars") or {} if SECRET_NAME.search(name)]
    if secret:
        raise ValueError(
            f"{file} gives {', '.join(secret)} to the job, and Ray shows a job's environment in its logs"
            " and to everybody on the dashboard; set it where the cluster's nodes start"
            " (docs/cluster.md, Secrets)"
        )
    return content if working_dir is None else {**content, "working_dir": working_dir}


def _check_fetchable(command: list[str]) -> None:
    """Say before hours of work, not after them, that nothing could be fetched."""
    if "gpnet-ray" not in Path(command[0]).name:
        return
    for option in ("--storage", "--runs-dir"):
        value = _option(command, option)
        if value is not None and (value.startswith("/") or "://" in value):
            return
    raise ValueError(
        "--fetch: the job's own working directory goes away with the job; give the command --storage URI"
        " or an absolute --runs-dir that this machine reaches too"
    )


def _option(command: list[str], name: str) -> str | None:
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


class FollowedJob:
    """A submitted job whose output is printed as it comes, each character once."""

    def __init__(self, client: JobSubmissionClient, job: str) -> None:
        self._client, self._job = client, job
        self.output = ""

    def until_it_ends(self) -> int:
        """Follow it; return its exit code, or 130 where the user stopped following.

        Raises:
            OSError: the cluster has not answered for two minutes.
        """
        code = self._followed_until_interrupt()
        while code is None:
            if self._answer_to_interrupt():
                return INTERRUPTED
            code = self._followed_until_interrupt(f"Following job {self._job} again.")
        return code

    def _followed_until_interrupt(self, line: str = "") -> int | None:
        try:
            if line:
                print(line, file=sys.stderr)
            return self._follow()
        except KeyboardInterrupt:
            return None

    def _follow(self) -> int:
        answered = time.monotonic()
        while True:
            try:
                asyncio.run(self._print_output())
                info = self._client.get_job_info(self._job)
                answered = time.monotonic()
                if info.status.is_terminal():
                    return self._exit_code(info)
            except (OSError, RuntimeError, aiohttp.ClientError) as error:
                # The connection may come and go (an SSH tunnel) while the job goes on.
                if time.monotonic() - answered > RECONNECT_SECONDS:
                    raise OSError(f"the cluster does not answer ({error})") from None
            time.sleep(1)

    async def _print_output(self) -> None:
        """Print what is new; a connection always begins with the first line."""
        known = len(self.output)
        async for text in self._client.tail_job_logs(self._job):
            new = text[known:]
            known = max(0, known - len(text))
            self.output += new
            print(new, end="", flush=True)

    def _exit_code(self, info: Any) -> int:
        if info.status == JobStatus.SUCCEEDED:
            return 0
        print(f"Job {self._job}: {info.status.value}. {info.message or ''}", file=sys.stderr)
        code = info.driver_exit_code
        if code is None:
            # It never started, or was stopped by somebody.
            return 1
        return 128 - code if code < 0 else code or 1

    def _answer_to_interrupt(self) -> bool:
        """Ask what is to become of the job; return whether to stop following it."""
        if not sys.stdin.isatty():
            print(
                f"\nInterrupted; there is no terminal to ask, so job {self._job} goes on."
                f" {_how_to_go_on(self._job)}",
                file=sys.stderr,
            )
            return True
        try:
            answer = input(
                "\nCancel the job? [y]es, [n]o and stop following, anything else: go on "
            )
        except (EOFError, KeyboardInterrupt):
            answer = "n"
        if answer.strip().lower() in ("y", "yes"):
            self._cancel()
            return True
        if answer.strip().lower() in ("n", "no"):
            print(f"\nJob {self._job} goes on. {_how_to_go_on(self._job)}", file=sys.stderr)
            return True
        return False

    def _cancel(self) -> None:
        self._client.stop_job(self._job)
        while not self._client.get_job_info(self._job).status.is_terminal():
            time.sleep(0.5)
        print(
            f"Job {self._job} is cancelled. What it had journaled stays where its runs lie; the same command"
            " with --resume goes on.",
            file=sys.stderr,
        )


def _how_to_go_on(job: str) -> str:
    return f"Follow it: ray job logs --follow {job}; cancel it: ray job stop {job}"


def _fetched(command: list[str], output: str, into: Path) -> int:
    """Copy the folder of every run that the job's output names; return 0, or 1 with the reason told."""
    folders = [Path(text) for text in dict.fromkeys(LINE_WITH_REPORT.findall(output))]
    if not folders:
        print("Error: nothing to fetch: the job's output names no report", file=sys.stderr)
        return 1
    for folder in folders:
        try:
            copy = fetch(folder, into / folder.name, storage=_option(command, "--storage"))
        except (GpnetError, OSError) as error:
            print(f"Error: {folder} cannot be fetched: {error}", file=sys.stderr)
            return 1
        print(f"Fetched: {copy / 'report' / 'index.html'}", file=sys.stderr)
    return 0


def fetch(folder: Path, to: Path, *, storage: str | None) -> Path:
    """Copy a run's folder of the cluster into a new one here: from the storage, or from a disk that both see.

    Ray's job API gives no files out.

    Raises:
        FileExistsError: the copy is there already.
        FileNotFoundError: without a storage, the folder is not on a disk of this machine.
        GpnetError: the storage does not answer or holds no such run.
    """
    if storage is not None:
        return fetch_run(run_uri(storage, folder.name), to)
    if not (folder.is_absolute() and folder.is_dir()):
        raise FileNotFoundError(
            "this machine has no such folder. Give the command --storage URI, or an absolute --runs-dir on"
            " a disk that this machine has too, or copy it with `ray rsync-down`"
        )
    shutil.copytree(folder, to)
    return to


if __name__ == "__main__":
    sys.exit(main())
