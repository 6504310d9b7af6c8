#!/bin/sh
# Makes the keys of the stack, once: without one the API lets nobody in, and does not even start.
set -eu
cd "$(dirname "$0")"

key() {
    file=$1 && shift
    test -s "$file" || docker compose run --rm --build -T api keys create "$@" > "$file"
}

umask 077
key first-key --tenant me --name "the first"
# Prometheus reads it as another user.
umask 022
key metrics-key --tenant me --name prometheus --scope metrics:read
