# shellcheck shell=bash
# Apache Kafka 4 in KRaft mode, one node that is broker and controller: the log of reservations.

kafka_process_name() { printf 'java'; }

kafka_prepare() {
  settle_port kafka-controller || return 1
  fetch_jars || return 1
  kafka_settings "$(data_of kafka)" >"$(home_of kafka)/server.properties"
  [ -d "$(data_of kafka)" ] || format_storage
}

# Prints the configuration for the data folder DATA.
kafka_settings() {
  fill "$here/kafka/server.properties" "PORT=$(port_of kafka)" \
    "CONTROLLER_PORT=$(port_of kafka-controller)" "DATA=$1"
}

# The jars, as kafka/pom.xml names them. Fetched again only when that file has changed, and into a folder
# aside, so that a fetch cut short leaves nothing that looks whole.
fetch_jars() {
  local home
  home=$(home_of kafka)
  cmp --silent "$here/kafka/pom.xml" "$home/libs/pom.xml" && return
  rm -rf "$home/libs.new"
  if ! timeout "$FETCH_DEADLINE_S" mvn --batch-mode --quiet --file "$here/kafka/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$home/libs.new" >"$home/maven.log" 2>&1; then
    complain "kafka: Maven could not fetch the jars"
    show_end_of "$home/maven.log"
    return 1
  fi
  cp "$here/kafka/pom.xml" "$home/libs.new/pom.xml"
  rm -rf "$home/libs"
  mv "$home/libs.new" "$home/libs"
}

# Once per data folder, and aside as well: half-formatted storage would never start.
format_storage() {
  local home log
  home=$(home_of kafka)
  log=$home/format.log
  rm -rf "$home/data.new"
  kafka_settings "$home/data.new" >"$home/format.properties"
  # A cluster id is 16 bytes as base64url; a leading dash would read as an option.
  java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" \
    -cp "$home/libs/*" kafka.tools.StorageTool format --standalone --cluster-id "A$(random_base64url 16 | cut -c2-)" \
    --config "$home/format.properties" >"$log" 2>&1 ||
    { show_end_of "$log"; return 1; }
  mv "$home/data.new" "$(data_of kafka)"
}

# A heap this small holds one node's work with room to spare; the log itself is in the page cache.
# Serial collection: two cores are shared with everything else.
kafka_command() {
  local home
  home=$(home_of kafka)
  printf '%s\n' java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData \
    -Djava.awt.headless=true "-Dlog4j2.configurationFile=$here/kafka/log4j2.properties" \
    -cp "$home/libs/*" kafka.Kafka "$home/server.properties"
}

# A Metadata request (key 3, version 1, correlation 1, client "stack", no topic), as Kafka's own tools would
# send it, but without the second that a JVM takes to start. The reply's third word counts the brokers that
# take part in the cluster: 0 while this one is still being let in.
kafka_answers() {
  local reply
  # In a subshell: a refused connection is a failed redirection, and its message is no news.
  reply=$(
    exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$(port_of kafka)" || exit 1
    printf '\0\0\0\x13\0\x03\0\x01\0\0\0\x01\0\x05stack\0\0\0\0' >&3
    timeout 3 head -c 12 <&3 | od -An -tu1 -j4
  ) || return 1
  [ "$(tr -s ' ' <<<"$reply")" = ' 0 0 0 1 0 0 0 1' ]
}
