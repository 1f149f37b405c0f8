#!/bin/busybox sh
# The first program of the Linux that the CM3's firmware is measured beside: it
# takes a lease, downloads one file, and says when it begins and ends.
#
# On the kernel's command line: bench.get=URL

export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
dmesg -n 1 # the kernel's lines would fall into ours

for word in $(cat /proc/cmdline); do
    case "$word" in "bench.get="*) url="${word#*=}" ;; esac
done
for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || echo "bench: module $module does not load"
done
until interface=$(ls /sys/class/net | grep -v '^lo$' | head -n 1) && [ -n "$interface" ]; do
    sleep 0.05
done
ip link set "$interface" up
until udhcpc -i "$interface" -n -q -t 10 -T 1 -s /bin/on-lease >/dev/null 2>&1; do
    echo "bench: no lease"
done
echo "bench: begin"
if wget -q -O /dev/null "$url"; then
    echo "bench: end"
else
    echo "bench: no download"
fi
while :; do sleep 3600; done
