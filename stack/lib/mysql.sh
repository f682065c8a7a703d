# shellcheck shell=bash
# MariaDB 10.11, speaking MySQL's protocol: the orders and the catalogue.

mysql_process_name() { printf 'mariadbd'; }

mysql_prepare() {
  local home
  home=$(home_of mysql)
  umask 077
  # shellcheck disable=SC2154 # mysql_password is one of the secrets
  fill "$here/mysql/my.cnf" "PORT=$(port_of mysql)" "DATA=$(data_of mysql)" "HOME=$home" \
    "PASSWORD=$mysql_password" >"$home/my.cnf"
  [ -d "$(data_of mysql)" ] || create_system_tables || return 1
  # Run by the server at every start, before it lets anyone in: whatever happened, our user is there.
  fill "$here/mysql/users.sql" "PASSWORD=$mysql_password" >"$home/users.sql"
}

# Aside, then renamed: a data folder is whole or not there.
create_system_tables() {
  local home
  home=$(home_of mysql)
  rm -rf "$home/data.new"
  if ! mariadb-install-db --defaults-file="$home/my.cnf" --datadir="$home/data.new" --user="$(id -un)" \
    --skip-test-db --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" \
    >"$home/install.log" 2>&1; then
    show_end_of "$home/install.log"
    return 1
  fi
  mv "$home/data.new" "$(data_of mysql)"
}

# --user: as root, MariaDB runs only if told so by name.
mysql_command() {
  printf '%s\n' mariadbd --defaults-file="$(home_of mysql)/my.cnf" --user="$(id -un)"
}

mysql_answers() {
  # The password goes by a file: a command line is for everyone to read.
  timeout 3 mariadb --defaults-file="$(home_of mysql)/my.cnf" --execute='SELECT 1' >/dev/null 2>&1
}
