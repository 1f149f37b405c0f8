#!/bin/bash
# Empties the largest mirror's cache when the root disk gets full: distribution
# has no limit of its own, and a full disk stops everything else too.
set -euo pipefail
shopt -s nullglob

free=$(df --output=avail --block-size=1M / | tail -n 1)
((free < 400)) || exit 0
caches=(/var/lib/ichor-mirrors/*)
((${#caches[@]} > 0)) || exit 0
largest=$(du --summarize --block-size=1K "${caches[@]}" | sort --numeric-sort | tail -n 1 | cut -f 2)
name=${largest##*/}
said="ichor-make-room: $free MiB free: emptied the cache of $name; more fits with a larger bastion.root_gib"
echo "$said"
echo "$said" >/dev/console || true
systemctl stop "ichor-mirror-$name.service"
rm -rf "${largest:?}"
systemctl start "ichor-mirror-$name.service"
