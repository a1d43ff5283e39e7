#!/usr/bin/env bash
# A Ray cluster of this machine alone, for several runs that share its GPUs, the dashboard and the job API:
# every port listens on loopback, and nobody gets in without the token.
#
#   scripts/cluster/one_machine.sh [options of `ray start`]      # until Ctrl-C
#
# It prints the token's place. A single run needs none of this: `gpnet-ray run` starts a Ray of its own.
set -euo pipefail

export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
# Without it Ray on Linux puts the machine's outer address in the place of 127.0.0.1 and listens there.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0

if [ -z "${RAY_AUTH_TOKEN:-}${RAY_AUTH_TOKEN_PATH:-}" ]; then
    ray get-auth-token --generate > /dev/null
    # Ray leaves it readable to every user of the machine.
    chmod 600 ~/.ray/auth_token
    echo "Token: ~/.ray/auth_token (whoever submits needs it, and RAY_AUTH_MODE=token)"
fi

exec ray start --head --block --node-ip-address=127.0.0.1 --dashboard-host=127.0.0.1 "$@"
