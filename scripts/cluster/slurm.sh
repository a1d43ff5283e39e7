#!/usr/bin/env bash
# A Ray cluster for the time of one Slurm job, with a token of its own, and a command on it.
#
#   sbatch scripts/cluster/slurm.sh gpnet-ray run --dataset /shared/oxides.parquet --target energy --unit eV/atom --runs-dir /shared/runs
#
#SBATCH --job-name=gpnet-ray
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "Usage: sbatch $0 COMMAND …, such as: sbatch $0 gpnet-ray run --dataset /shared/oxides.parquet --target energy --unit eV/atom" >&2
    exit 2
fi
# The environment that holds gpnet-ray on every node, for instance:
# source /shared/gpnet-ray-env/bin/activate

# Known to this job's own processes alone: Slurm hands it on in their environment, no file holds it.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# Of several addresses the first of IPv4.
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | tr ' ' '\n' | grep -m 1 -F .)
# Two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 10000))
export RAY_ADDRESS="$head_ip:$port"

# srun does not take it over from sbatch by itself.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
# Ports that fit beside those of another job; workers' and agents' are whatever is free.
options=(--num-cpus="$SRUN_CPUS_PER_TASK" --min-worker-port=0 --max-worker-port=0)
options+=(--dashboard-agent-listen-port=0)
if [ -n "${SLURM_GPUS_ON_NODE:-}" ]; then
    options+=(--num-gpus="$SLURM_GPUS_ON_NODE")
fi

start_on() {
    local node=$1
    shift
    # RAY_ADDRESS is for the command below; ray start is told where to go.
    srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap \
        env --unset=RAY_ADDRESS ray start --block "${options[@]}" "$@" &
    steps+=($!)
}

steps=()
# Ends the cluster whatever becomes of the command.
trap 'kill "${steps[@]}" 2> /dev/null; wait' EXIT

# No dashboard: nothing but the driver, on the head's own node, has to get in.
start_on "$head" --head --node-ip-address="$head_ip" --port="$port" \
    --include-dashboard=false --temp-dir="/tmp/ray-$SLURM_JOB_ID"
for _ in $(seq 60); do
    if ray health-check --address "$RAY_ADDRESS" > /dev/null 2>&1; then break; fi
    sleep 1
done
for node in "${nodes[@]:1}"; do
    start_on "$node" --address="$RAY_ADDRESS"
done

# Ray counts the nodes as they come; the command would lay itself over those that are there.
python - "${#nodes[@]}" << 'PYTHON'
import sys
import time

import ray

wanted, deadline = int(sys.argv[1]), time.monotonic() + 300
ray.init(logging_level="ERROR", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < wanted:
    if time.monotonic() > deadline:
        sys.exit(f"{wanted} nodes were asked for, but after 300 s Ray has {ray.nodes()}")
    time.sleep(1)
PYTHON

# On the first node, which is where Slurm runs this script.
"$@"
