#!/bin/bash
# Brings the bastion to what its bucket says: packages, files, images, services.
# ichor-bastion.service runs this at every start, and again until it succeeds;
# by hand: systemctl restart ichor-bastion. What is as it should be is left alone.
set -euo pipefail
shopt -s nullglob
umask 022

# BUCKET, AWS_DEFAULT_REGION, ADDRESS, STACK_ADDRESS
set -a
# shellcheck source=/dev/null
. /etc/ichor-bastion.conf
set +a

here=/srv/ichor # the bucket, as it was fetched last
units=/etc/systemd/system
state=/var/lib/ichor-bastion
step="starting"

# One line for whoever reads the journal or the instance's console output.
tell() {
  echo "$*"
  echo "ichor-bastion: $*" >/dev/console || true
}
ended() {
  local status=$?
  ((status == 0)) || tell "failed when $step (journalctl -u ichor-bastion); it tries again in 30 s"
}
trap ended EXIT

# Makes $2 the same as $1, with mode $3. If it was not, unit $4 is stopped
# before: all are started at the end, also if this is cut short and run again.
place() {
  if [[ -e $2 && $(sha256sum <"$1") == "$(sha256sum <"$2")" ]]; then return; fi
  if systemctl --quiet is-active "$4"; then systemctl stop "$4"; fi
  mkdir -p "${2%/*}"
  install --mode="$3" "$1" "$2"
}

meta() {
  curl --silent --fail --max-time 5 --header "X-aws-ec2-metadata-token: $token" \
    "http://169.254.169.254/latest/meta-data/network/interfaces/macs/$1"
}

# The MAC of the interface that has both addresses, as AWS sees it.
both_addresses() {
  local mac addresses
  token=$(curl --silent --fail --max-time 5 --request PUT \
    --header "X-aws-ec2-metadata-token-ttl-seconds: 60" http://169.254.169.254/latest/api/token) || return 1
  for mac in $(meta ""); do
    addresses=$(meta "${mac%/}/local-ipv4s") || continue
    if grep -qxF "$ADDRESS" <<<"$addresses" && grep -qxF "$STACK_ADDRESS" <<<"$addresses"; then
      echo "${mac%/}"
      return
    fi
  done
  return 1
}

# First, since they bring the way in: SSH through the Instance Connect endpoint.
step="installing packages (from S3, by the gateway endpoint)"
packages=(ec2-instance-connect awscli-2 docker)
if ! rpm --query --quiet "${packages[@]}"; then
  dnf --assumeyes --quiet install "${packages[@]}"
  systemctl daemon-reload
  systemctl try-restart sshd.service
fi

step="waiting for instance metadata to list $STACK_ADDRESS beside $ADDRESS: is it a secondary address of the interface?"
for ((tries = 1; ; tries++)); do
  mac=$(both_addresses) && break
  ((tries < 60)) || exit 1
  sleep 2
done
interface=
for device in /sys/class/net/*; do
  if [[ $(<"$device/address") == "$mac" ]]; then interface=${device##*/}; fi
done
step="looking for the interface with address $mac"
[[ -n $interface ]]
echo "INTERFACE=$interface" >/run/ichor-bastion.env

# The stack answers for its address itself, so the kernel must not have it.
# amazon-ec2-net-utils gives the kernel every secondary address, by this file
# in /run; one of the same name in /etc stands before it.
step="keeping $STACK_ADDRESS out of the kernel"
mask=/etc/systemd/network/70-$interface.network.d/ec2net_alias.conf
if [[ ! -L $mask ]]; then
  mkdir -p "${mask%/*}"
  ln -s /dev/null "$mask"
  networkctl reload
fi

step="fetching s3://$BUCKET"
mkdir -p "$here" "$state/loaded"
if ! aws s3 sync --only-show-errors --delete --exact-timestamps "s3://$BUCKET" "$here"; then
  tell "cannot read s3://$BUCKET: going on with what was fetched before"
fi
step="checking what was fetched from s3://$BUCKET: cloud-up mends the bucket"
(cd "$here" && sha256sum --quiet --check SHA256SUMS)

# ichor first: nothing that ails a container may keep a machine from booting.
step="starting ichor"
place "$here/bin/ichor" /usr/local/bin/ichor 755 ichor.service
place "$here/bin/ichor-make-room" /usr/local/sbin/ichor-make-room 755 ichor-make-room.timer
for old in "$units"/ichor-mirror-*.service; do
  name=${old##*/}
  if [[ ! -e $here/units/$name ]]; then
    systemctl stop "$name"
    rm "$old"
  fi
done
services=()
for unit in "$here"/units/*.service "$here"/units/*.timer "$here"/units/*.service.d/*.conf; do
  file=${unit#"$here"/units/}
  name=${file%.d/*}
  place "$unit" "$units/$file" 644 "$name"
  case $name in ichor-mirror-*.service | ichor-pihole.service | *.timer) services+=("$name") ;; esac
done
systemctl daemon-reload
systemctl start ichor.service
tell "ichor serves http://$STACK_ADDRESS:8080"

step="starting docker"
systemctl start docker.service
if [[ -f $here/bundle/docker-compose ]]; then
  install --mode=755 -D "$here/bundle/docker-compose" /usr/local/lib/docker/cli-plugins/docker-compose
fi
for archive in "$here"/bundle/*.tar; do
  step="loading ${archive##*/}"
  sum=$(sha256sum <"$archive")
  loaded=$state/loaded/${sum%% *}
  [[ -e $loaded ]] || docker load --quiet --input "$archive"
  touch "$loaded"
done
missing=()
while read -r image; do
  step="pulling $image"
  docker image inspect "$image" >/dev/null 2>&1 ||
    timeout 300 docker pull --quiet "$image" || missing+=("$image")
done <"$here/images"

# pi-hole takes the list over when it makes its database.
if [[ ! -e /var/lib/ichor-pihole/gravity.db ]]; then
  install --mode=644 -D "$here/pihole/whitelist.txt" /var/lib/ichor-pihole/whitelist.txt
fi

step="starting containers"
able=()
for service in "${services[@]}"; do
  for image in "${missing[@]}"; do
    grep --quiet --fixed-strings " $image" "$units/$service" && continue 2
  done
  able+=("$service")
done
systemctl start "${able[@]}"
if ((${#missing[@]} > 0)); then
  step="looking for images that can neither be pulled nor are in the bundle: ${missing[*]}"
  exit 1
fi
tell "ready"
