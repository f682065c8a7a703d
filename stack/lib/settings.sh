# shellcheck shell=bash
# Where everything lives, which ports are ours, and the secrets that this machine made for itself.
# shellcheck disable=SC2034 # what is set here is used in the other files

readonly ALL_SERVERS=(redis kafka mysql)

# sysexits.h: what a script can test for.
readonly EXIT_USAGE=64 EXIT_UNAVAILABLE=69

# How long a server may take to answer once started, to end when told to, and packages or jars to arrive.
readonly STACK_DEADLINE_S=${STACK_DEADLINE_S:-60} STOP_DEADLINE_S=30 FETCH_DEADLINE_S=600

# Physical: a server is recognised by its working directory, which the kernel gives without symbolic links.
STACK_DIR=$(realpath --canonicalize-missing "${STACK_DIR:-$here/../.stack}")
readonly STACK_DIR

# `mariadbd` is in a folder that only root's PATH has.
PATH=$PATH:/usr/sbin:/sbin

complain() { printf 'stack: %s\n' "$*" >&2; }
die() { complain "$@"; exit 1; }

# mariadb-install-db does not quote the paths that it hands on.
[[ $STACK_DIR != *[[:space:]]* ]] || die "STACK_DIR must not have a space in it: $STACK_DIR"

show_end_of() {
  complain "the end of $1:"
  tail -n 20 "$1" 2>/dev/null | sed 's/^/  | /' >&2
}

home_of() { printf '%s' "$STACK_DIR/$1"; }
data_of() { printf '%s' "$STACK_DIR/$1/data"; }
log_of() { printf '%s' "$STACK_DIR/$1/log"; }
pid_file_of() { printf '%s' "$STACK_DIR/$1/pid"; }
port_file_of() { printf '%s' "$STACK_DIR/ports/$1"; }

# The port to start SERVER (or kafka-controller) on: as asked for, or as last time, or ours. Ours are not the
# systems' defaults: a machine's own Redis or MySQL stays untouched.
wanted_port() {
  local variable
  variable=STACK_$(env_name "$1")_PORT
  if [ -n "${!variable:-}" ]; then
    printf '%s' "${!variable}"
  else
    port_of "$1"
  fi
}

# The port SERVER was last started on: what it listens to, whatever is asked for now.
port_of() {
  cat "$(port_file_of "$1")" 2>/dev/null && return
  case $1 in
    redis) printf '16379' ;;
    kafka) printf '19092' ;;
    kafka-controller) printf '19093' ;;
    mysql) printf '13306' ;;
  esac
}

port_is_taken() {
  (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Settles the port to start SERVER on. A taken port is an error, for its owner may be anything; with
# STACK_PORTS=any (what `check` says) the next free one is used instead.
settle_port() {
  local port
  port=$(wanted_port "$1")
  while port_is_taken "$port"; do
    if [ "${STACK_PORTS:-}" != any ]; then
      complain "$1: port $port is taken by another process; end it, set STACK_$(env_name "$1")_PORT, or STACK_PORTS=any"
      return 1
    fi
    # Steps of 10: the broker and its controller stand side by side, and never on each other's port.
    port=$((port + 10))
  done
  mkdir -p "$STACK_DIR/ports"
  printf '%s' "$port" >"$(port_file_of "$1")"
}

env_name() {
  local name=${1^^}
  printf '%s' "${name//-/_}"
}

random_base64url() {
  head -c "$1" /dev/urandom | base64 --wrap=0 | tr '+/' '-_' | tr -d '='
}

# Made once, for this stack only; `stack/env` reads them. `reset` keeps them: open shells hold them already.
ensure_secrets() {
  local file=$STACK_DIR/secrets
  if [ ! -s "$file" ]; then
    (
      umask 077
      printf 'mysql_password=%s\ntoken_kid=stack-1\ntoken_secret=%s\n' \
        "$(random_base64url 24)" "$(random_base64url 32)" >"$file.new"
    )
    mv "$file.new" "$file"
  fi
  # shellcheck source=/dev/null
  source "$file"
}

# Fills a configuration template: @NAME@ becomes VALUE. Prints it.
#   fill TEMPLATE NAME=VALUE ...
fill() {
  local text pair
  text=$(<"$1")
  shift
  for pair in "$@"; do
    text=${text//"@${pair%%=*}@"/"${pair#*=}"}
  done
  printf '%s\n' "$text"
}
