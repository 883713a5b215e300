# Sourced by the scripts beside it: sets `root` and `python`, and makes .venv/ on the first call.
# Knows nothing of what is run with it. The usual call costs one file comparison.
say() { printf 'thalweg: %s\n' "$*" >&2; }

# requirements.lock has wheels for CPython 3.11 to 3.14.
suits() {
    "$1" -c 'import sys; v = sys.version_info
sys.exit(not ((3, 11) <= v[:2] <= (3, 14) and sys.implementation.name == "cpython"))' 2>/dev/null
}

version_of() { "$1" --version 2>&1 | head -n 1; }

find_python() {
    for candidate in python3 python3.11 python3.12 python3.13 python3.14 python; do
        if suits "$candidate"; then
            base=$candidate
            return
        fi
    done
    seen=$(command -v python3) && seen="$(version_of python3) at $seen" || seen="no python3 on PATH"
    say "needs CPython 3.11 to 3.14, found $seen; install one, or set THALWEG_PYTHON to one that has the packages"
    exit 2
}

root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P) || exit 2

case $root in *:*)
    say "$root has a colon in its name, which PYTHONPATH cannot hold; move the clone"
    exit 2 ;;
esac

if [ -n "${THALWEG_PYTHON:-}" ]; then
    python=$(command -v -- "$THALWEG_PYTHON") && [ -f "$python" ] || {
        say "THALWEG_PYTHON=$THALWEG_PYTHON is not a program; give the path of a Python interpreter"
        exit 2
    }
    ${hold-} "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        say "needs Python 3.11 or later, found $(version_of "$python") in THALWEG_PYTHON=$THALWEG_PYTHON"
        exit 2
    }
    ${hold-} "$python" -P "$root/scripts/setup.py" check "$need" || exit $?
else
    python=$root/.venv/bin/python
    if ! cat "$root/requirements.lock" "$root/pyproject.toml" | cmp -s - "$root/.venv/made-from" || ! [ -x "$python" ]; then
        trap - INT TERM # making it says itself that it was interrupted
        find_python
        "$base" -I "$root/scripts/setup.py" make || exit $?
    fi
fi

# The clone before any thalweg that is installed; src/ and not $root, where each of our modules would have a second name.
export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
