#!/bin/sh
# `known-user COMMAND...`: run it as a user that has a name. Hadoop's login fails where the UID that a platform set stands in no
# /etc/passwd; that file cannot be written, so the C library is shown another one.
set -eu
if ! id -un > /dev/null 2>&1; then
    NSS_WRAPPER_PASSWD=$(mktemp /tmp/passwd.XXXXXX)
    { cat /etc/passwd; echo "multitaskais-$(id -u):x:$(id -u):$(id -g)::/tmp:/usr/sbin/nologin"; } > "$NSS_WRAPPER_PASSWD"
    NSS_WRAPPER_GROUP=/etc/group
    LD_PRELOAD=libnss_wrapper.so
    export LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
fi
exec "$@"
