"""Labels from a program of the user's own, run once a label in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpnet_ray.data.structure_files import StructureFormat, write_structure
from gpnet_ray.errors import InputError, OracleError
from gpnet_ray.oracles.answer import Answer, BadAnswerError, parse_answer
from gpnet_ray.oracles.label_folders import LabelFolders
from gpnet_ray.oracles.protocol import LabelOutcome

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["CommandOracle"]

TAIL_CHARACTERS = 1000
"""How much of a failed program's output stands in the reason."""


class CommandOracle:
    """Runs a program for every label, without a shell, and reads its JSON answer.

    The program starts in the label's folder, in which the structure file lies (POSCAR or CIF, elements
    without charges); ``stdout.txt`` and ``stderr.txt`` there are what it prints. It must end with exit
    code 0 and answer as :func:`gpnet_ray.oracles.answer.parse_answer` says; all else is a failed label.
    """

    name = "command"

    def __init__(
        self,
        argv: Sequence[str],
        *,
        unit: str,
        folders: LabelFolders,
        structure_format: StructureFormat = "poscar",
        answer_file: str | None = None,
        time_limit_seconds: float = 86_400.0,
        global_features: Sequence[str] = (),
    ) -> None:
        """Check that the program exists.

        Args:
            argv: Program and arguments with the placeholders ``{structure}``, ``{id}``,
                ``{start_dir}`` (the folder in which this is called) and ``{NAME}`` for each global feature.
            unit: Unit of the labels; the program has to answer in it.
            folders: Where each label has its folder.
            structure_format: What the program reads.
            answer_file: File in the label's folder that holds the answer; ``None``: the last line of
                the standard output.
            time_limit_seconds: How long a label may take.
            global_features: Names of numbers in the ``properties`` of every crystal.

        Raises:
            InputError: the program cannot be found or run.
        """
        start_dir = str(Path.cwd())
        self._argv = [argument.replace("{start_dir}", start_dir) for argument in argv]
        program = shutil.which(self._argv[0])
        if program is None:
            raise InputError(
                f"oracle.command.argv: there is no program {self._argv[0]!r} that can be run from"
                f" {start_dir}; give its path, with {{start_dir}} for this folder"
            )
        self._argv[0] = str(Path(program).absolute())
        self.unit, self._folders, self._format = unit, folders, structure_format
        self._answer_file, self._time_limit = answer_file, time_limit_seconds
        self._global_features = tuple(global_features)

    @property
    def label_note(self) -> str:
        """What the labels are, in plain words."""
        names = " ".join(Path(argument).name for argument in self._argv[:2])
        return f"what the program {names} answers"

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Return one outcome an id, in order.

        Raises:
            OracleError: different numbers of ids and structures.
            OSError: the program cannot be started, or its folder cannot be written.
        """
        if len(ids) != len(structures):
            raise OracleError(f"{len(ids)} ids but {len(structures)} structures to label")
        return [self._outcome(*pair) for pair in zip(ids, structures, strict=True)]

    def _outcome(self, material_id: str, structure: Structure) -> LabelOutcome:
        began = time.perf_counter()
        folder = self._folders.make(material_id)
        bare = structure.copy()
        bare.remove_oxidation_states()
        structure_file = write_structure(folder, material_id, bare, fmt=self._format)
        values = {name: repr(float(structure.properties[name])) for name in self._global_features}
        values |= {"structure": str(structure_file), "id": material_id}
        argv = [_filled_in(argument, values) for argument in self._argv]
        answer = self._run(argv, folder)
        self._folders.close(folder, ok=answer.status == "ok")
        seconds = time.perf_counter() - began
        return LabelOutcome(material_id, answer.status, answer.value, answer.reason, 1, seconds)

    def _run(self, argv: Sequence[str], folder: Path) -> Answer:
        out, err = folder / "stdout.txt", folder / "stderr.txt"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            # A session of its own, so that all that the program starts can be killed with it.
            process = subprocess.Popen(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                code = process.wait(self._time_limit)
            except subprocess.TimeoutExpired:
                reason = f"took longer than {self._time_limit:g} s and was stopped"
                return Answer("failed", None, reason + _tail(err, out))
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if code:
            said = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
            return Answer("failed", None, said + _tail(err, out))
        try:
            return parse_answer(self._answer_text(folder, out), unit=self.unit)
        except BadAnswerError as error:
            return Answer("failed", None, f"the program's answer cannot be used: {error}")

    def _answer_text(self, folder: Path, out: Path) -> str:
        if self._answer_file is not None:
            file = folder / self._answer_file
            if not file.is_file():
                raise BadAnswerError(f"there is no file {self._answer_file} in its folder")
            return file.read_text("utf-8", errors="replace")
        lines = [line for line in _end_of(out, 65_536).splitlines() if line.strip()]
        if not lines:
            raise BadAnswerError("it printed nothing")
        return lines[-1]


def _filled_in(argument: str, values: Mapping[str, str]) -> str:
    # In one pass: braces in a path or an id stand for themselves.
    return re.sub(r"\{([^{}]*)\}", lambda found: values.get(found[1], found[0]), argument)


def _end_of(file: Path, size: int) -> str:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - size))
        return stream.read().decode("utf-8", errors="replace")


def _tail(*files: Path) -> str:
    """Return the end of the first of some files that holds anything."""
    texts = (_end_of(file, TAIL_CHARACTERS).strip() for file in files)
    text = next((text for text in texts if text), "")
    return f"; the end of its output: {text}" if text else "; it printed nothing"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
