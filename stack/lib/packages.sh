# shellcheck shell=bash
# The Debian packages: the servers, what fetches Kafka's jars, what builds the Rust crates' C parts, the tests'
# tracer, and what the checks under tools/ run in.

# Prints the packages of which no command is here yet. A command from elsewhere (another JDK, say) will do.
missing_packages() {
  local command package
  while read -r command package; do
    command -v "$command" >/dev/null || printf '%s\n' "$package"
  done <<'WANTED'
redis-server redis-server
redis-cli redis-tools
mariadbd mariadb-server-core
mariadb-install-db mariadb-server-core
mariadb mariadb-client-core
mvn maven
java default-jdk-headless
openssl openssl
gcc gcc
g++ g++
make make
cmake cmake
pkg-config pkg-config
strace strace
promtool prometheus
WANTED
  [ -e /usr/include/zlib.h ] || printf 'zlib1g-dev\n'
  python3 -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv\n'
}

ensure_packages() {
  local -a missing
  mapfile -t missing < <(missing_packages | sort --unique)
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    complain "these packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
    exit "$EXIT_UNAVAILABLE"
  fi
  printf 'stack: installing %s\n' "${missing[*]}"
  install_packages "${missing[@]}" || die "apt-get could not install them"
}

# Debian starts a server as it installs it, on the default port and with data of its own, unless a policy
# forbids it. Ours forbids it for the time of the installation. A policy that is there already stays; as it
# may allow the start, the service is also stopped. The body is a subshell, so that the trap is its own.
install_packages() (
  policy=/usr/sbin/policy-rc.d
  log=$(mktemp)
  if [ -e "$policy" ]; then
    trap 'rm -f "$log"' EXIT
  else
    trap 'rm -f "$log" "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi

  # Someone else may be installing something: wait for the turn.
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update &&
    apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout="$FETCH_DEADLINE_S" "$@"; } >"$log" 2>&1; then
    show_end_of "$log"
    return 1
  fi
  # Redis and Prometheus come with services, which must not run now, nor at the machine's next start. MariaDB's
  # -core packages have none.
  local service
  for service in redis-server prometheus; do
    case " $* " in
      *" $service "*)
        service "$service" stop >/dev/null 2>&1 || true
        update-rc.d "$service" disable >/dev/null 2>&1 || true
        ;;
    esac
  done
)
