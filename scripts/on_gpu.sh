#!/bin/sh
# Called by scripts/test --gpu and scripts/bench gpu: runs gpu/first.sh or gpu/second.sh from anywhere, results into OUT.
# The interpreter is THALWEG_PYTHON; else python3 where gpu/wheels.sh has left .whl/ for it, which needs no network; else
# that of the clone's .venv, which is made if need be.
part=$1
[ $# -eq 2 ] || {
    [ "$part" = first ] && words="scripts/test --gpu" || words="scripts/bench gpu"
    echo "usage: $words OUT, the folder that results go to as they come" >&2
    exit 2
}
mkdir -p -- "$2" && out=$(cd -- "$2" && pwd) || exit 2
clone=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P) || exit 2
if [ -n "${THALWEG_PYTHON:-}" ]; then
    PYTHON=$THALWEG_PYTHON
elif [ -d "$clone/.whl" ]; then
    PYTHON=python3
else
    need=develop
    . "$clone/scripts/environment.sh"
    PYTHON=$python
fi
export PYTHON
cd -- "$clone" && exec sh "scripts/gpu/$part.sh" scripts/gpu "$out"
