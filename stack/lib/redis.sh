# shellcheck shell=bash
# Redis 7: the stock that is sold from.

# Debian's redis-server renames itself so.
redis_process_name() { printf 'redis-server'; }

redis_prepare() {
  mkdir -p "$(data_of redis)"
  fill "$here/redis/redis.conf" "PORT=$(port_of redis)" "DATA=$(data_of redis)" >"$(home_of redis)/redis.conf"
}

redis_command() {
  printf '%s\n' redis-server "$(home_of redis)/redis.conf"
}

# While it reads its append-only file back it answers LOADING, not PONG.
redis_answers() {
  [ "$(timeout 3 redis-cli -h 127.0.0.1 -p "$(port_of redis)" PING 2>/dev/null)" = PONG ]
}
