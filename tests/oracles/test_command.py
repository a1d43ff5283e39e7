"""A user's program as oracle: every answer and every way to fail."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import textwrap
import time
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.command import CommandOracle
from gpnet_ray.oracles.factory import features_not_read
from gpnet_ray.oracles.label_folders import LabelFolders
from gpnet_ray.oracles.settings import OracleConfig

CRYSTAL = Structure(Lattice.cubic(3.1), ["Mg2+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
OK = {"status": "ok", "value": -3.06, "unit": "eV/atom"}


def oracle_of(tmp_path: Path, program: str, **options) -> CommandOracle:
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    argv = options.pop("argv", [sys.executable, str(script), "{structure}", "{id}"])
    folders = LabelFolders(tmp_path / "labels", options.pop("keep", "on-failure"))
    return CommandOracle(argv, unit="eV/atom", folders=folders, **options)


def answers(tmp_path: Path, answer: object, **options) -> CommandOracle:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return oracle_of(tmp_path, f"print({text!r})", **options)


def whole_number(digits: int) -> str:
    return '{"status": "ok", "unit": "eV/atom", "value": ' + digits * "1" + "}"


@pytest.mark.parametrize("fmt", ["poscar", "cif"])
def test_the_program_gets_the_crystal_and_a_folder_of_its_own(tmp_path, fmt):
    oracle = oracle_of(
        tmp_path,
        f"""
        import json, os, sys
        from pathlib import Path
        assert Path.cwd() == Path(sys.argv[1]).parent, "not in its folder"
        print("log: " + sys.argv[2])
        Path("copy").write_text(Path(sys.argv[1]).read_text())
        print(json.dumps({OK}))
        print()
        """,
        structure_format=fmt,
        keep="always",
    )
    (outcome,) = oracle.label(["../odd $HOME"], [CRYSTAL])
    assert (outcome.status, outcome.value) == ("ok", -3.06)
    assert outcome.material_id == "../odd $HOME"
    assert outcome.seconds > 0
    (folder,) = (tmp_path / "labels").iterdir()
    seen = Structure.from_str((folder / "copy").read_text(), fmt=fmt)
    assert seen.matches(CRYSTAL.copy().remove_oxidation_states())
    # The id reaches the program as it is: no shell reads it.
    assert "log: ../odd $HOME" in (folder / "stdout.txt").read_text()


def test_files_that_cannot_be_removed_cost_no_label(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.warns(UserWarning, match="could not be removed"):
        (outcome,) = answers(tmp_path, OK).label(["a"], [CRYSTAL])
    assert (outcome.status, outcome.value) == ("ok", -3.06)


def test_the_answer_may_be_in_a_file(tmp_path):
    program = f"open('answer.json', 'w').write({json.dumps(OK)!r}); print('chatter')"
    (outcome,) = oracle_of(tmp_path, program, answer_file="answer.json").label(["a"], [CRYSTAL])
    assert outcome.value == -3.06
    (silent,) = oracle_of(tmp_path, "", answer_file="answer.json").label(["a"], [CRYSTAL])
    assert "no file answer.json" in silent.reason


def test_a_whole_number_is_a_label(tmp_path):
    (outcome,) = answers(tmp_path, {**OK, "value": -3}).label(["a"], [CRYSTAL])
    assert (outcome.status, outcome.value) == ("ok", -3.0)


@pytest.mark.parametrize("status", ["failed", "unconverged"])
def test_the_program_may_say_that_there_is_no_label(tmp_path, status):
    oracle = answers(tmp_path, {"status": status, "reason": "charge sloshing"})
    (outcome,) = oracle.label(["a"], [CRYSTAL])
    assert (outcome.status, outcome.value, outcome.reason) == (status, None, "charge sloshing")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", "printed nothing"),
        ("done", "no JSON"),
        ([1], "no JSON object"),
        ({**OK, "status": "fine"}, "status is 'fine'"),
        ({**OK, "unit": "meV/atom"}, "unit is 'meV/atom', and labels are in 'eV/atom'"),
        ({"status": "ok", "value": 1.0}, "unit is None"),
        ({**OK, "value": "1.0"}, "not a finite number"),
        ({**OK, "value": True}, "not a finite number"),
        ('{"status": "ok", "unit": "eV/atom", "value": NaN}', "holds NaN"),
        ('{"status": "ok", "unit": "eV/atom", "value": 1e999}', "not a finite number"),
        pytest.param(whole_number(401), "not a finite number", id="401 digits"),
        pytest.param(whole_number(5001), "not a finite number", id="5,001 digits"),
        (
            '{"status": "ok", "unit": "eV/atom", "value": -3, "value": -306}',
            "key 'value' more than",
        ),
        ('{"status": "failed", "status": "ok", "unit": "eV/atom", "value": 1}', "key 'status'"),
        pytest.param(20_000 * "[", "nested too deeply", id="nested"),
        ({"status": "failed"}, "needs a reason"),
        ({"status": "unconverged", "reason": " "}, "needs a reason"),
    ],
)
def test_an_answer_that_cannot_be_used_is_a_failed_label(tmp_path, answer, said):
    (outcome,) = answers(tmp_path, answer).label(["a"], [CRYSTAL])
    assert outcome.status == "failed"
    assert said in outcome.reason


def test_exit_code_and_end_of_the_output_are_in_the_reason_and_files_stay(tmp_path):
    program = f"""
    import sys
    print({json.dumps(OK)!r})
    print("x" * 5000 + " basis set not found", file=sys.stderr)
    sys.exit(3)
    """
    (outcome,) = oracle_of(tmp_path, program).label(["a"], [CRYSTAL])
    assert outcome.status == "failed"
    assert "ended with code 3" in outcome.reason
    assert outcome.reason.endswith("basis set not found")
    assert len(outcome.reason) < 1500
    assert (tmp_path / "labels" / "a" / "a.poscar").is_file()


def test_a_signal_is_named(tmp_path):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    (outcome,) = oracle_of(tmp_path, program).label(["a"], [CRYSTAL])
    assert "was killed by SIGTERM" in outcome.reason


def test_over_the_time_limit_all_that_the_program_started_is_killed(tmp_path):
    program = """
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print("child", child.pid, flush=True)
    time.sleep(60)
    """
    began = time.monotonic()
    (outcome,) = oracle_of(tmp_path, program, time_limit_seconds=2.0).label(["a"], [CRYSTAL])
    # 2 s of limit; the rest is room for a busy machine.
    assert time.monotonic() - began < 20
    assert outcome.status == "failed"
    assert "took longer than 2 s" in outcome.reason
    child = int(outcome.reason.split()[-1])
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Killed, but not yet collected by its new parent.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_folder_where_the_campaign_started_can_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(f"print({json.dumps(OK)!r})")
    argv = [sys.executable, "{start_dir}/mine.py", "{structure}"]
    oracle = oracle_of(tmp_path, "", argv=argv)
    monkeypatch.chdir("/")
    assert oracle.label(["a"], [CRYSTAL])[0].status == "ok"


def test_the_program_gets_the_global_features_that_its_arguments_name(tmp_path):
    argv = [
        "{pressure_GPa}",
        "--at={temperature (K)}",
        '{"id": "{id}"}',
        "{unknown}",
        "{structure}",
    ]
    program = "import json, sys; from pathlib import Path; Path('argv').write_text(json.dumps(sys.argv[1:]))"
    oracle = oracle_of(
        tmp_path,
        f"{program}; print({json.dumps(OK)!r})",
        argv=[sys.executable, str(tmp_path / "program.py"), *argv],
        global_features=["pressure_GPa", "temperature (K)"],
        keep="always",
    )
    crystal = CRYSTAL.copy()
    crystal.properties |= {"pressure_GPa": 0.1 + 0.2, "temperature (K)": 300}
    # An id that looks like a placeholder is none.
    (outcome,) = oracle.label(["{pressure_GPa}"], [crystal])
    assert outcome.status == "ok", outcome.reason
    (folder,) = (tmp_path / "labels").iterdir()
    *seen, structure = json.loads((folder / "argv").read_text())
    assert seen == [repr(0.1 + 0.2), "--at=300.0", '{"id": "{pressure_GPa}"}', "{unknown}"]
    assert Path(structure).parent == folder


@pytest.mark.parametrize(
    ("kind", "argv", "unread"),
    [
        ("ase", (), ("p", "t")),
        ("ionic", (), ("p", "t")),
        ("command", ("program", "{structure}", "--p={p}"), ("t",)),
        ("command", ("program", "{structure}", "{p}", "{t}"), ()),
    ],
)
def test_features_that_an_oracle_is_not_told_are_named(kind, argv, unread):
    ase = {"calculator": "a:B"}
    config = OracleConfig.model_validate({"kind": kind, "ase": ase, "command": {"argv": argv}})
    assert features_not_read(config, ["p", "t"]) == unread


def test_the_oracle_can_be_sent_to_a_labeller(tmp_path):
    sent = pickle.loads(pickle.dumps(answers(tmp_path, OK)))  # noqa: S301  what Ray does with it
    assert sent.label(["a"], [CRYSTAL])[0].value == -3.06


def test_ids_and_structures_must_match(tmp_path):
    with pytest.raises(OracleError, match="1 ids but 0 structures"):
        answers(tmp_path, OK).label(["a"], [])
