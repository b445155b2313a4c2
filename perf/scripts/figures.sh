# shellcheck shell=bash
# What scripts that run benches in turns have in common; to be sourced. $work is the caller's folder for figures.

# figure NAME: a field of the document of the last run, $work/run.json, or of an object in it; nothing where it is null.
figure() {
    local object=${1%/*} field=${1#*/}
    if [ "$object" = "$field" ]; then object=; fi
    awk -v object="$object" -v field="$field" '
        object != "" && index($0, "  \"" object "\": {") == 1 { inside = 1 }
        (object == "" || inside) && $1 == "\"" field "\":" { sub(/,$/, "", $2); value = $2; exit }
        END { if (value != "" && value != "null") print value }' "$work/run.json"
}

# median FILE [FORMAT] [SCALE]: of its numbers, or a dash if it has none.
median() {
    sort -g "$work/$1" 2>/dev/null | awk -v format="${2:-%.0f}" -v scale="${3:-1}" '{ v[NR] = $1 }
        END { if (NR) printf format, scale * ((NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2); else printf "-" }'
}
