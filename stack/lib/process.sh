# shellcheck shell=bash
# One server's life: found, started, waited for, stopped. What differs between servers is asked of
# SERVER_process_name, SERVER_prepare, SERVER_command and SERVER_answers, in lib/SERVER.sh.

readonly POLL_S=0.1

# Prints the pid of a running SERVER, or fails. A pid file alone proves nothing, for pids are used again: the
# process must bear the server's name and work in its data folder.
running_pid() {
  local pid
  pid=$(cat "$(pid_file_of "$1")" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$("$1_process_name")" ] || return 1
  [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(data_of "$1")" ] || return 1
  printf '%s\n' "$pid"
}

# Prints the seconds since START, which is in milliseconds, to a tenth.
seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

now_ms() { date +%s%3N; }

up_server() {
  local server=$1 pid started ours=no
  started=$(now_ms)
  if pid=$(running_pid "$server"); then
    refuse_to_move "$server"
  else
    settle_port "$server" || return 1
    mkdir -p "$(home_of "$server")"
    "$server"_prepare || { complain "$server: could not be prepared"; return 1; }
    start_server "$server"
    ours=yes
    pid=$(<"$(pid_file_of "$server")")
  fi
  await_answer "$server" "$pid" "$ours"
  printf '%-6s up  pid %-7s port %-6s %s s\n' "$server" "$pid" "$(port_of "$server")" "$(seconds_since "$started")"
}

# Someone who names another port than the one in use would wait for it in vain.
refuse_to_move() {
  [ "$(wanted_port "$1")" = "$(port_of "$1")" ] ||
    die "$1 runs on port $(port_of "$1") already; to move it: stack/stack down $1, then up"
}

# Starts SERVER in a session of its own, so that no terminal's end and no Ctrl-C reaches it.
# Each `exec` keeps the pid: the one written down is the server's.
start_server() {
  local server=$1 log
  local -a command
  mapfile -t command < <("$server"_command)
  log=$(log_of "$server")
  [ ! -e "$log" ] || mv "$log" "$log.before"
  (
    cd "$(data_of "$server")"
    # A connection is a file, and so is a table: the usual 1,024 are soon used up.
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"
    exec setsid "${command[@]}" </dev/null >"$log" 2>&1 9>&-
  ) &
  printf '%s\n' "$!" >"$(pid_file_of "$server")"
}

# Waits until SERVER, whose process is PID, answers a real request. Says why it never will. OURS is yes if we
# have just started it.
await_answer() {
  local server=$1 pid=$2 ours=$3
  local deadline=$((SECONDS + STACK_DEADLINE_S))
  until "$server"_answers; do
    if ! kill -0 "$pid" 2>/dev/null; then
      give_up "$server" "ended as it started"
    elif [ "$SECONDS" -ge "$deadline" ]; then
      # What we started and never spoke would be taken for a running server by the next `up`. One that ran
      # before may be somebody's evidence, or only slow: leave it.
      [ "$ours" = no ] || kill -KILL "$pid" 2>/dev/null || true
      give_up "$server" "did not answer within $STACK_DEADLINE_S s"
    fi
    sleep "$POLL_S"
  done
}

give_up() {
  complain "$1 $2"
  show_end_of "$(log_of "$1")"
  exit 1
}

down_server() {
  local server=$1 pid deadline how=stopped
  if ! pid=$(running_pid "$server"); then
    printf '%-6s not running\n' "$server"
    return
  fi
  kill -TERM "$pid" 2>/dev/null || true
  deadline=$((SECONDS + STOP_DEADLINE_S))
  while running_pid "$server" >/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      how="killed, for it did not stop within $STOP_DEADLINE_S s"
      kill -KILL "$pid" 2>/dev/null || true
      deadline=$((SECONDS + STOP_DEADLINE_S))
    fi
    sleep "$POLL_S"
  done
  rm -f "$(pid_file_of "$server")"
  printf '%-6s %s\n' "$server" "$how"
}

# As by a crash. Returns when the process is gone, so that its port and its files are free.
kill_server() {
  local server=$1 pid
  pid=$(running_pid "$server") || { complain "$server is not running"; return 1; }
  kill -KILL "$pid"
  while running_pid "$server" >/dev/null; do sleep 0.01; done
  # The kernel lets go of a dead process's folder before its port. A port that stays taken is another's, as `up` says.
  local deadline=$((SECONDS + STOP_DEADLINE_S))
  while port_is_taken "$(port_of "$server")" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.01; done
  rm -f "$(pid_file_of "$server")"
  printf '%-6s killed\n' "$server"
}

signal_servers() {
  local signal=$1 server pid
  shift
  for server in "$@"; do
    pid=$(running_pid "$server") || die "$server is not running"
    kill "-$signal" "$pid"
  done
}

# Everything but Kafka's jars, which are not data.
wipe_server() {
  rm -rf "$(data_of "$1")"
}

print_row() { printf '%-7s %-7s %8s %6s %8s %10s\n' "$@"; }

status_row() {
  local server=$1 state=down pid=- rss=- size=- data
  data=$(data_of "$server")
  # What is not known stays "-": a server may end while it is looked at.
  [ ! -d "$data" ] || size=$(du --summarize --human-readable "$data" 2>/dev/null | cut -f1)
  if pid=$(running_pid "$server"); then
    rss=$(awk '/^VmRSS:/ { printf "%d", $2 / 1024 }' "/proc/$pid/status" 2>/dev/null || true)
    state=silent
    ! "$server"_answers || state=up
  fi
  print_row "$server" "$state" "${pid:--}" "$(port_of "$server")" "${rss:--}" "${size:--}"
  [ "$state" = up ]
}
