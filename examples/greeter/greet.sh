#!/bin/sh
# Greets whoever it is told to greet.
#
#   greet.sh [NAME…]    prints a greeting for each name, or for the world
#   greet.sh --serve    serves a greeting over HTTP on port 8080
set -eu

list=${GREETINGS:-/app/greetings.sorted}

# The greeting for a name: always the same one, out of the list, by the length of the name.
greet() {
  lines=$(busybox wc -l <"$list")
  number=$((${#1} % lines + 1))
  greeting=$(busybox sed -n "${number}p" "$list")
  printf '%s, %s!\n' "$greeting" "$1"
}

if [ "${1:-}" = --serve ]; then
  busybox mkdir -p /tmp/www
  greet world >/tmp/www/index.html
  exec busybox httpd -f -p 8080 -h /tmp/www
fi

[ $# -gt 0 ] || set -- world
for name in "$@"; do
  greet "$name"
done
