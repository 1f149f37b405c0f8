#!/bin/busybox sh
# The first program of the Linux that proves the LAN95xx model: whenever there
# is a link it takes a lease, downloads, pings and uploads, and says so.
#
# On the kernel's command line:
#   lan.get=URL        what to download
#   lan.ping=ADDRESS   whom to ping
#   lan.put=ADDRESS    where to upload to, by TFTP

export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
dmesg -n 1 # the kernel's lines would fall into ours

say() { echo "lan: $*"; }

option() {
    for word in $(cat /proc/cmdline); do
        case "$word" in "$1="*) echo "${word#*=}" ;; esac
    done
}

# Waits until the interface's carrier is as wanted. Without a link for long the
# kernel may refuse to tell.
carrier() {
    until [ "$(cat "/sys/class/net/$interface/carrier" 2>/dev/null)" = "$1" ]; do
        sleep 0.1
    done
}

for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || say "module $module does not load"
done
for try in $(seq 600); do
    interface=$(ls /sys/class/net | grep -v '^lo$' | head -n 1)
    [ -n "$interface" ] && break
    sleep 0.1
done
if [ -z "$interface" ]; then
    dmesg | tail -n 40
    say "no network interface"
    while :; do sleep 3600; done
fi
driver=$(readlink "/sys/class/net/$interface/device/driver")
say "driver ${driver##*/} mac $(cat "/sys/class/net/$interface/address")"
ip link set lo up
ip link set "$interface" up

dd if=/dev/urandom of=/upload bs=64k count=8 2>/dev/null
say "upload $(sha256sum /upload | cut -d ' ' -f 1)"

round=1
while :; do
    carrier 1
    say "round $round: link"
    until udhcpc -i "$interface" -n -q -t 6 -T 2 -s /bin/on-lease >/dev/null 2>&1; do
        say "round $round: no lease"
    done
    say "round $round: address $(ip -4 address show "$interface" | sed -n 's/.*inet \([0-9.]*\).*/\1/p')"
    begun=$(cut -d ' ' -f 1 /proc/uptime)
    sum=$(wget -q -O - "$(option lan.get)" | sha256sum | cut -d ' ' -f 1)
    say "round $round: got $sum from $begun s to $(cut -d ' ' -f 1 /proc/uptime) s"
    for size in 1 56 471 1472; do
        answers=$(ping -c 3 -i 0.2 -W 5 -s "$size" "$(option lan.ping)" | sed -n 's/.* \([0-9]*\) packets received.*/\1/p')
        say "round $round: ping $size $answers"
    done
    begun=$(cut -d ' ' -f 1 /proc/uptime)
    tftp -p -b 1428 -l /upload -r "upload-$round" "$(option lan.put)" >/dev/null 2>&1 || say "round $round: upload failed"
    say "round $round: put from $begun s to $(cut -d ' ' -f 1 /proc/uptime) s"
    # That there is no EEPROM is as it should be.
    dmesg | grep -i -E 'csum|smsc95xx.*(fail|error|timeout)|dwc2.*(error|fail)|call trace' |
        grep -v 'EEPROM read operation timeout' | sed 's/^/lan: kernel: /'
    say "round $round: errors$(cd "/sys/class/net/$interface/statistics" && for name in *_errors; do
        echo -n " $name=$(cat "$name")"
    done)"
    say "round $round: done"
    carrier 0
    say "round $round: link lost"
    round=$((round + 1))
done
