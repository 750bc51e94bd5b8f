#!/bin/sh
# `entrypoint COMMAND...`: run it (spark-submit, spark-class) as a user that has a name and can write what it is asked to write.
set -eu

out=/tmp/trajectories
case " $* " in
    *" --output"*) ;;
    *)
        if [ "$1" = spark-submit ] && [ -e $out ] && [ ! -w $out ]; then
            echo "$out cannot be written by user $(id -u): chown the folder that is mounted there, run with --user, or give --output" >&2
            exit 2
        fi ;;
esac

# Hadoop's login fails where the UID that a platform set stands in no /etc/passwd. That file cannot be written, so the C
# library is shown another one.
if ! id -un > /dev/null 2>&1; then
    NSS_WRAPPER_PASSWD=$(mktemp /tmp/passwd.XXXXXX)
    { cat /etc/passwd; echo "multitaskais-$(id -u):x:$(id -u):$(id -g)::/tmp:/usr/sbin/nologin"; } > "$NSS_WRAPPER_PASSWD"
    NSS_WRAPPER_GROUP=/etc/group
    LD_PRELOAD=libnss_wrapper.so
    export LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
fi
exec "$@"
