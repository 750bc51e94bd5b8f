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

# On Kubernetes Spark starts its pods with the word `driver` or `executor`, and says the rest in the environment.
case "$1 ${2-}" in
    "spark-submit driver")
        shift 2
        set -- spark-submit --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" --deploy-mode client "$@" ;;
    "spark-submit executor")
        home=$(python -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
        set -- -Xms"$SPARK_EXECUTOR_MEMORY" -Xmx"$SPARK_EXECUTOR_MEMORY" -cp "${SPARK_CLASSPATH:+$SPARK_CLASSPATH:}$SPARK_CONF_DIR:$home/jars/*" \
            org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend --driver-url "$SPARK_DRIVER_URL" \
            --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" --app-id "$SPARK_APPLICATION_ID" \
            --hostname "$SPARK_EXECUTOR_POD_IP" --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
        n=0
        while option=$(printenv "SPARK_JAVA_OPT_$n"); do
            set -- "$option" "$@"
            n=$((n + 1))
        done
        set -- java "$@" ;;
esac
exec "$@"
