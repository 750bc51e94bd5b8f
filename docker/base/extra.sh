# `sh extra.sh EXTRA INTO`: install what the extra of the installed package needs, and put what came new under INTO.
# So an image on top of base carries its own files once, and none of base's again.
set -eu
# The tools of this stage are the system's Python; the environment that is filled has no pip.
root=/opt/multitaskais
version=$("$root/bin/python" -c 'import multitaskais; print(multitaskais.__version__)')
touch /before
/usr/bin/python3 -m pip --no-cache-dir --python "$root/bin/python" install -c constraints.txt "multitaskais[$1]==$version"
find "$root" -path '*/site-packages/tensorflow' -prune -o -type d \( -name tests -o -name test \) -prune -exec rm -r {} +
mkdir -p "$2"
find "$root" ! -type d -cnewer /before -print0 | tar -c --null -T - | tar -x -C "$2"
