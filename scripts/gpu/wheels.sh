#!/bin/sh
# Fills .whl/ of the current clone with the packages that a GPU machine without a network lacks: sh wheels.sh [--wandb]
# Run it in the clone's root, where pip works. The wheels are for CPython 3.12 on x86-64 Linux, of the versions which
# requirements.lock pins; torch, torchvision and scikit-learn are taken to be there. Git never sees the folder.
set -eu
python=${PYTHON:-python3}
lock=requirements.lock
folder=.whl
names="hydra-core omegaconf pydantic pydantic-core annotated-types typing-inspection"
wandb="wandb platformdirs cwevals googleapis-common-protos opentelemetry-api opentelemetry-sdk opentelemetry-proto
    opentelemetry-semantic-conventions opentelemetry-exporter-otlp-proto-common opentelemetry-exporter-otlp-proto-http
    opentelemetry-exporter-http-transport opentelemetry-exporter-otlp-common"
[ -f "$lock" ] || {
    echo "$lock is not here; run this in the clone's root" >&2
    exit 2
}
case "${1:-}" in
'') ;;
--wandb) names="$names $wandb" ;;
*)
    echo "unknown word $1; usage: sh wheels.sh [--wandb]" >&2
    exit 2
    ;;
esac

pinned() {
    found=$(sed -n "s/^\($1==[^ ;\\]*\).*/\1/p" "$lock" | head -n 1)
    [ -n "$found" ] || {
        echo "$lock does not pin $1" >&2
        exit 2
    }
    printf '%s\n' "$found"
}

exclude=$(git rev-parse --git-path info/exclude)
mkdir -p "$(dirname -- "$exclude")"
grep -qxF "/$folder/" "$exclude" 2>/dev/null || echo "/$folder/" >>"$exclude"
rm -rf "$folder"
mkdir "$folder"

set --
for glibc in 39 35 34 31 28 27 24 17; do
    set -- "$@" --platform "manylinux_2_${glibc}_x86_64"
done
set -- "$@" --platform manylinux2014_x86_64 --platform manylinux1_x86_64
for name in $names; do
    wanted=$(pinned "$name")
    set -- "$@" "$wanted"
done
"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --abi cp312 --abi abi3 --abi none -d "$folder" "$@"

# antlr4 4.9.3 comes as source only: it is pure Python, so the wheel made here fits there.
wanted=$(pinned antlr4-python3-runtime)
"$python" -m pip wheel --quiet --no-deps -w "$folder" "$wanted"
du -sh "$folder"
ls -l "$folder"
