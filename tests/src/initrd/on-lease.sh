#!/bin/busybox sh
# Called by udhcpc on every event: sets the interface up and notes the lease in /lease.
case "$1" in
deconfig)
    ip address flush dev "$interface"
    ;;
bound | renew)
    ip address flush dev "$interface"
    ip address add "$ip/${mask:-32}" dev "$interface"
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    # Classless routes take the place of the router option (RFC 3442).
    if [ -n "$staticroutes" ]; then
        set -- $staticroutes
        while [ $# -ge 2 ]; do
            if [ "$2" = 0.0.0.0 ]; then
                ip route replace "$1" dev "$interface"
            else
                ip route replace "$1" via "$2"
            fi
            shift 2
        done
    elif [ -n "$router" ]; then
        ip route replace default via "${router%% *}"
    fi
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    [ -n "$hostname" ] && hostname "$hostname"
    echo "address='$ip' hostname='$hostname'" >/lease
    ;;
esac
