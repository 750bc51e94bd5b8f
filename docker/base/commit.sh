# `sh commit.sh GIT_FOLDER`: the commit's name, or "unknown" where the sources came without their history.
set -eu
cd "$1"
[ -f HEAD ] || { echo unknown; exit 0; }
head=$(cat HEAD)
case $head in
    "ref: "*)
        ref=${head#ref: }
        if [ -f "$ref" ]; then cat "$ref"
        elif [ -f packed-refs ] && line=$(grep " $ref\$" packed-refs); then echo "${line%% *}"
        else echo unknown
        fi ;;
    *) echo "$head" ;;
esac
