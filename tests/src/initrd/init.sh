#!/bin/busybox sh
# The first program of a test node: asks of the network what Talos asks, tells
# the console what it got, and ends.
#
# On the kernel's command line:
#   talos.config=URL      the machine config; ${mac} ${uuid} ${serial} ${hostname} are filled in
#   ichor.hash=URL,URL    files to fetch and print the SHA-256 of
#   ichor.poweroff        end with the power off instead of idling

export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
dmesg -n 1 # the kernel's lines would fall into ours

say() { echo "ichor-node: $*"; }

# Prints the value of a word of the command line; fails if the word is absent.
option() {
    for word in $(cat /proc/cmdline); do
        case "$word" in
        "$1") return 0 ;;
        "$1="*) echo "${word#*=}"; return 0 ;;
        esac
    done
    return 1
}

finish() {
    option ichor.poweroff >/dev/null && poweroff -f
    while :; do sleep 3600; done
}

fail() {
    say "failed: $*"
    finish
}

# Prints the file behind a URL.
fetch() {
    case "$1" in
    tftp://*)
        rest="${1#tftp://}"
        host="${rest%%/*}"
        case "$host" in *:*) port="${host#*:}" ;; *) port=69 ;; esac
        tftp -g -b 1428 -l - -r "${rest#*/}" "${host%%:*}" "$port"
        ;;
    *) wget -q -O - "$1" ;;
    esac
}

# Fills in a variable of a config URL. An unknown value leaves the variable as
# text, as Talos does after it waited for one.
expand() { # URL, name, value
    value=$(echo "$3" | sed 's/:/%3A/g; s/ /%20/g; s/[&/\]/\\&/g')
    if [ -n "$value" ]; then echo "$1" | sed "s/\${$2}/$value/g"; else echo "$1"; fi
}

for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || say "module $module does not load"
done

interface=
for try in $(seq 50); do
    interface=$(ls /sys/class/net | grep -v '^lo$' | head -n 1)
    [ -n "$interface" ] && break
    sleep 0.1
done
[ -n "$interface" ] || fail "no network interface"
mac=$(cat "/sys/class/net/$interface/address")

ip link set lo up
ip link set "$interface" up
# What Talos' own client asks for, and no client identifier: it sends none.
for try in 1 2 3 4 5; do
    udhcpc -i "$interface" -n -t 6 -T 2 -C -V '' -o -s /bin/on-lease \
        -O subnet -O router -O staticroutes -O dns -O search -O ntpsrv \
        -O mtu -O hostname -O domain >/dev/null 2>&1 && break
done
[ -s /lease ] || fail "no DHCP lease on $interface ($mac)"
. /lease

config=none
url=$(option talos.config)
if [ -n "$url" ]; then
    url=$(expand "$url" mac "$mac")
    url=$(expand "$url" uuid "$(cat /sys/class/dmi/id/product_uuid 2>/dev/null)")
    url=$(expand "$url" serial "$(cat /sys/class/dmi/id/product_serial 2>/dev/null)")
    url=$(expand "$url" hostname "$hostname")
    say "config from $url"
    config=
    for pause in 1 2 4 8 8 8 0; do
        # Only 200 counts, and an empty config is none.
        case "$url" in
        tftp://*)
            fetch "$url" >/config 2>/answer && status="HTTP/1.1 200 by TFTP" || status="no file"
            ;;
        *)
            wget -S -O /config "$url" >/answer 2>&1
            status=$(grep 'HTTP/1' /answer | tail -n 1 | sed 's/^ *//')
            ;;
        esac
        case "$status" in
        HTTP/1.?" 200"*)
            if [ -s /config ]; then
                config=$(sha256sum /config | cut -d ' ' -f 1)
                break
            fi
            status="empty config"
            ;;
        esac
        say "no config: ${status:-$(tail -n 1 /answer)}"
        sleep "$pause"
    done
    [ -n "$config" ] || fail "gave up on $url"
    say "config begins"
    cat /config
    echo
    say "config ends"
fi

say "up mac=$mac ip=$address config=$config uptime=$(cut -d ' ' -f 1 /proc/uptime)"

for url in $(option ichor.hash | tr ',' ' '); do
    rm -f /unfetched
    sum=$({ fetch "$url" 2>/dev/null || touch /unfetched; } | sha256sum | cut -d ' ' -f 1)
    if [ -e /unfetched ]; then say "cannot fetch $url"; else say "sha256 $sum $url"; fi
done
finish
