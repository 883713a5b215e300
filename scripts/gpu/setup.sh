# Sourced by first.sh and second.sh in the clone's root: makes the clone and the packages of .whl/ importable, for child
# processes too. Sets `python` ($PYTHON, else python3). Knows nothing of what is run, and needs no network.
python=${PYTHON:-python3}
[ -d src/thalweg/runner ] || {
    echo "src/thalweg/runner is not here; run this in the root of a clone that has symbolic links" >&2
    exit 2
}

install() {
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir "$@" .whl/*.whl
}

if [ -d .whl ] && ! install; then
    site=${TMPDIR:-/tmp}/site
    echo "the environment is read-only: the packages go to a folder beside it, $site"
    mkdir -p "$site" && install --upgrade --target "$site" || exit 3
    PYTHONPATH=$site
fi
export PYTHONPATH="$PWD/src:$PWD/scripts${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 NO_COLOR=1 COLUMNS=110
