# One Kafka node, broker and controller in one. Writes to /var/lib/kafka (give it a volume to keep the data) and /tmp.
set -eu
data=/var/lib/kafka
settings=/tmp/server.properties
cat > "$settings" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093
advertised.listeners=PLAINTEXT://${ADVERTISED_HOST}:9092
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$data/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
PROPERTIES
set -- "-Xmx${HEAP_MB}m" -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp '/opt/kafka/libs/*'
if [ ! -f "$data/log/meta.properties" ]; then
    # An id of 16 random bytes, as Kafka writes them.
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')
    java "$@" kafka.tools.StorageTool format "--cluster-id=$id" -c "$settings"
fi
exec java "$@" kafka.Kafka "$settings"
