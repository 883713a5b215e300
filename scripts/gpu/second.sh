#!/bin/sh
# How fast is training on a GPU? In the clone's root, in under 6 minutes: sh second.sh FOLDER-OF-THIS OUT
# As scripts/bench gpu OUT runs it. The table of second.py, and the coupling study as it is typed. OUT gets second.txt, second.json and sweeps.txt, a
# line as it comes, and the studies' reports. Whether the numbers are right is first.sh's to say.
[ $# -eq 2 ] || {
    echo "usage: sh second.sh FOLDER-OF-THIS OUT" >&2
    exit 2
}
here=$(cd -- "$1" && pwd) && mkdir -p -- "$2" && out=$(cd -- "$2" && pwd) || exit 2
. "$here/setup.sh"

timeout 210 "$python" -P "$here/second.py" "$out/second.json" 190 2>&1 | sed -u /Warning/d | tee "$out/second.txt"

sweep() {
    store=$1
    shift
    timeout 60 "$python" -P -m thalweg sweep "$@" tracker=none --yes --store "$store.sqlite" 2>&1 |
        grep --line-buffered -E "traced|graphed|loop's|finished|^(scale|plain)" |
        sed -u 's/^\(.\{140\}\).*/\1/' | tee -a "$out/sweeps.txt"
}

mkdir -p "$out/s" && cd "$out/s" || exit 2
sweep one coupling
sweep two coupling launcher.workers=2
cp -- *.html "$out" 2>/dev/null
rm -rf "$out/s"
