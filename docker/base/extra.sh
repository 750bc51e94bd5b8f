# `sh extra.sh LIST INTO [SOURCE]`: install the packages of a locked list, and put what came new under INTO.
# So an image on top of base carries its own files once, and none of base's again. SOURCE names a package that comes as source alone.
set -eu
# The tools of this stage are the system's Python; the environment that is filled has no pip.
root=/opt/multitaskais
pip="/usr/bin/python3 -m pip --no-cache-dir"
build=
if [ -n "${3:-}" ]; then
    # Its build tools are locked too: an isolated build would fetch them unchecked.
    $pip install --require-hashes --only-binary :all: --target /build-tools -r build.lock
    build="--no-binary $3 --no-build-isolation --use-pep517"
fi
touch /before
# shellcheck disable=SC2086  # one word an option
PYTHONPATH=${build:+/build-tools} $pip --python "$root/bin/python" install --require-hashes --only-binary :all: $build -r "$1"
$pip --python "$root/bin/python" check
find "$root" -path '*/site-packages/tensorflow' -prune -o -type d \( -name tests -o -name test \) -prune -exec rm -r {} +
mkdir -p "$2"
find "$root" ! -type d -cnewer /before -print0 | tar -c --null -T - | tar -x -C "$2"
