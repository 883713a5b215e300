#!/bin/sh
# Does training on a GPU work? In the clone's root, in under 4 minutes: sh first.sh FOLDER-OF-THIS OUT
# As scripts/test --gpu OUT runs it. Doctor, the tests that need a GPU, the checks of first.py, and sweeps as they are typed. OUT gets pytest.txt,
# first.txt, first.json and sweeps.txt, a line as it comes. Knows nothing of speed: that is second.sh.
[ $# -eq 2 ] || {
    echo "usage: sh first.sh FOLDER-OF-THIS OUT" >&2
    exit 2
}
here=$(cd -- "$1" && pwd) && mkdir -p -- "$2" && out=$(cd -- "$2" && pwd) || exit 2
. "$here/setup.sh"

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
ls /dev/nvidia*
command -v gcc cc
timeout 20 "$python" -P -m thalweg doctor

echo "== GPU tests"
timeout 45 "$python" -P -m pytest -v --tb=line -m gpu -p no:cacheprovider tests/runner/engine/test_cuda.py 2>&1 |
    sed -u 's/^\(.\{200\}\).*/\1/' | tee "$out/pytest.txt" | tail -n 30

echo "== checks"
timeout 85 "$python" -P "$here/first.py" "$out/first.json" 72 2>&1 |
    sed -u -e /Warning/d -e 's/^\(.\{420\}\).*/\1/' | tee "$out/first.txt"

sweep() {
    store=$1
    shift
    timeout 15 "$python" -P -m thalweg sweep "$@" tracker=none --yes --store "$store.sqlite" 2>&1 |
        grep --line-buffered -E 'traced|graphed|loop|lr·wd|separable|finished|error|NOT' |
        sed -u 's/^\(.\{160\}\).*/\1/' | tee -a "$out/sweeps.txt"
}

echo "== sweeps, typed"
mkdir -p "$out/s" && cd "$out/s" || exit 2
sweep auto smoke
sweep asked smoke engine=graphed
sweep two smoke launcher.workers=2
rm -rf "$out/s"
