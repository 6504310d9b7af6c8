#!/bin/sh
# Writes the secrets of the compose file, once, where only their owner reads them.
set -eu
cd "$(dirname "$0")"
test ! -e .env || exit 0

chance() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
cat > .env <<END
REDIS_PASSWORD=$(chance)
S3_ACCESS_KEY=$(chance)
S3_SECRET_KEY=$(chance)
GRAFANA_PASSWORD=$(chance)
END
