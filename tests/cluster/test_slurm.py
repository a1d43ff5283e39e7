"""scripts/cluster/slurm.sh with stand-ins for Slurm's programs and a real Ray head and worker."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "cluster" / "slurm.sh"

# Runs what it is given on this machine, whatever node is named; the options are kept for the test.
SRUN = """#!/usr/bin/env bash
while [[ ${1:-} == --* ]]; do
    case $1 in --nodelist=*) echo "$1" >> "$SEEN/nodes" ;; esac
    shift
done
exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
[[ "$*" == "show hostnames node[1-2]" ]] && printf '%s\\n' node1 node2
"""
HOSTNAME = """#!/usr/bin/env bash
echo "fe80::1 $ADDRESS"
"""
COMMAND = """
import json, os, sys
import ray
ray.init(logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=1)
class Place:
    def where(self):
        return ray.get_runtime_context().get_node_id()

nodes = [node for node in ray.nodes() if node["Alive"]]
# Each node has one CPU, and both are taken at the same time.
places = [Place.remote() for _ in range(2)]
print(json.dumps({
    "nodes": len(nodes),
    "used": len(set(ray.get([place.where.remote() for place in places]))),
    "cpus": ray.cluster_resources()["CPU"],
    "gpus": ray.cluster_resources().get("GPU", 0),
    "token": os.environ["RAY_AUTH_TOKEN"],
    "arguments": sys.argv[1:],
}))
sys.exit(5)
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch script of a job on two nodes."""
    import ray

    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("hostname", HOSTNAME)):
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
    python = Path(sys.executable).parent
    return {
        **plain,
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{python}:{os.environ['PATH']}",
        "SEEN": str(tmp_path),
        "ADDRESS": ray.util.get_node_ip_address(),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_GPUS_ON_NODE": "1",
    }


def test_bash_can_read_it_and_slurm_finds_its_options() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    lines = SCRIPT.read_text("utf-8").splitlines()
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    first_command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    # Slurm reads no further than the first command.
    assert options
    assert max(options) < first_command


def test_without_a_command_it_says_how_it_is_used(slurm: dict[str, str]) -> None:
    done = subprocess.run([SCRIPT], env=slurm, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "sbatch" in done.stderr


@pytest.mark.slow
def test_the_command_has_all_nodes_behind_a_token_and_the_script_its_exit_code(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [SCRIPT, "python", "-c", COMMAND, "two words"],
        env=slurm,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert (told["nodes"], told["used"], told["cpus"], told["gpus"]) == (2, 2, 2, 2)
    assert told["arguments"] == ["two words"]
    assert (tmp_path / "nodes").read_text().split() == [
        *("--nodelist=node1", "--nodelist=node1", "--nodelist=node2"),
    ]
    # 256 bits, made for this job and kept in no file.
    assert len(told["token"]) == 64
    assert not (tmp_path / ".ray" / "auth_token").exists()
    assert told["token"] not in done.stdout.replace(json.dumps(told), "") + done.stderr
