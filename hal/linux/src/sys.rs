//! The few system calls that rustix does not have, each behind a safe
//! function. Linux only.

use std::io;
use std::mem::{size_of, size_of_val};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// `setsockopt` with a plain value.
pub(crate) fn set_option(fd: impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    check(result)
}

/// Attaches a classic BPF program to a socket, in place of the one before.
pub(crate) fn attach_filter(fd: impl AsFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program
            .len()
            .try_into()
            .map_err(|_| io::Error::from(Errno::INVAL))?,
        // The kernel only reads it.
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the pointer and length describe `program`, whose own pointer
    // and length describe the slice; the kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    check(result)
}

/// Binds a packet socket to an interface, for frames of every protocol.
pub(crate) fn bind_packet(fd: impl AsFd, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer and length describe `address`, which outlives the
    // call.
    let result = unsafe {
        libc::bind(
            fd.as_fd().as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    check(result)
}

/// Has an interface pass on frames to a group address for as long as the packet
/// socket is open.
pub(crate) fn join_group(fd: impl AsFd, interface: u32, group: [u8; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = group;
    let request = libc::packet_mreq {
        mr_ifindex: interface.cast_signed(),
        mr_type: libc::PACKET_MR_MULTICAST as u16,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    // SAFETY: the pointer and length describe `request`, which outlives the
    // call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of_val(&request) as libc::socklen_t,
        )
    };
    check(result)
}

/// Receives up to `lengths.len()` packets with one call, the n-th into the
/// n-th `stride` bytes of `buffer`. Returns how many came, and their lengths;
/// one that did not fit has length 0.
pub(crate) fn receive_batch<const N: usize>(
    fd: impl AsFd,
    buffer: &mut [u8],
    stride: usize,
    lengths: &mut [usize; N],
) -> Result<usize, Errno> {
    let mut iov = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; N];
    // SAFETY: all zeroes is a valid `mmsghdr`: no name, no data, no control.
    let mut headers: [libc::mmsghdr; N] = unsafe { std::mem::zeroed() };
    let slots = iov.iter_mut().zip(buffer.chunks_exact_mut(stride));
    let mut count = 0;
    for ((iov, slot), header) in slots.zip(&mut headers) {
        iov.iov_base = slot.as_mut_ptr().cast();
        iov.iov_len = slot.len();
        header.msg_hdr.msg_iov = iov;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers point at the I/O vectors, these at
    // distinct parts of `buffer`, and all of them outlive the call.
    let received = unsafe {
        libc::recvmmsg(
            fd.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| last_errno())?;
    for (length, header) in lengths.iter_mut().zip(&headers[..received]) {
        let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        *length = if truncated {
            0
        } else {
            header.msg_len as usize
        };
    }
    Ok(received)
}

/// `struct ifreq`: an interface's name, and a union of 24 bytes at most.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    data: [u8; 24],
}

const _: () = assert!(size_of::<InterfaceRequest>() >= size_of::<libc::ifreq>());

fn interface_ioctl(
    fd: impl AsFd,
    operation: libc::c_ulong,
    name: &str,
    data: &[u8],
) -> io::Result<[u8; 24]> {
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        data: [0; 24],
    };
    // The kernel wants a NUL at the end.
    if name.len() >= request.name.len() {
        return Err(Errno::NODEV.into());
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request.data[..data.len()].copy_from_slice(data);
    // SAFETY: every operation that this module passes takes a pointer to a
    // `struct ifreq`, no larger than `request`, and keeps within it.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), operation as _, &raw mut request) };
    check(result)?;
    Ok(request.data)
}

/// Attaches to the TAP device of this name, which is made if it is not there.
/// Its frames come as they are, but for what `IFF_*` flags in `more` say.
pub(crate) fn open_tap(name: &str, more: i32) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    let kind = ((libc::IFF_TAP | libc::IFF_NO_PI | more) as u16).to_ne_bytes();
    interface_ioctl(&device, libc::TUNSETIFF as libc::c_ulong, name, &kind)?;
    Ok(device)
}

/// Sets what a TAP device may hand over unfinished, as `TUN_F_*` flags.
pub(crate) fn set_tap_offload(fd: impl AsFd, flags: u32) -> io::Result<()> {
    // SAFETY: the operation takes its argument by value.
    check(unsafe {
        libc::ioctl(
            fd.as_fd().as_raw_fd(),
            libc::TUNSETOFFLOAD as _,
            libc::c_ulong::from(flags),
        )
    })
}

/// An interface's `IFF_*` flags. `fd` is any socket.
pub(crate) fn interface_flags(fd: impl AsFd, name: &str) -> io::Result<i32> {
    let data = interface_ioctl(fd, libc::SIOCGIFFLAGS as _, name, &[])?;
    Ok(i32::from(u16::from_ne_bytes([data[0], data[1]])))
}

/// Sets an interface's `IFF_*` flags.
pub(crate) fn set_interface_flags(fd: impl AsFd, name: &str, flags: i32) -> io::Result<()> {
    let flags = (flags as u16).to_ne_bytes();
    interface_ioctl(fd, libc::SIOCSIFFLAGS as _, name, &flags).map(drop)
}

/// An interface's MTU: the longest IP packet.
pub(crate) fn interface_mtu(fd: impl AsFd, name: &str) -> io::Result<usize> {
    let [a, b, c, d, ..] = interface_ioctl(fd, libc::SIOCGIFMTU as _, name, &[])?;
    Ok(i32::from_ne_bytes([a, b, c, d]).try_into().unwrap_or(0))
}

/// An interface's hardware address and its `ARPHRD_*` type.
pub(crate) fn interface_mac(fd: impl AsFd, name: &str) -> io::Result<(u16, [u8; 6])> {
    let [k0, k1, a, b, c, d, e, f, ..] = interface_ioctl(fd, libc::SIOCGIFHWADDR as _, name, &[])?;
    Ok((u16::from_ne_bytes([k0, k1]), [a, b, c, d, e, f]))
}

/// An interface's first IPv4 address and its netmask.
pub(crate) fn interface_address(fd: impl AsFd, name: &str) -> io::Result<(Ipv4Addr, Ipv4Addr)> {
    // A `sockaddr_in`: family, port, address.
    let address = |data: [u8; 24]| Ipv4Addr::new(data[4], data[5], data[6], data[7]);
    let fd = fd.as_fd();
    let ip = interface_ioctl(fd, libc::SIOCGIFADDR as _, name, &[])?;
    let mask = interface_ioctl(fd, libc::SIOCGIFNETMASK as _, name, &[])?;
    Ok((address(ip), address(mask)))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn last_errno() -> Errno {
    io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Makes the whole process run as a user, with that user's group alone. The C
/// library tells every thread.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: the pointer is to one group, as the count says.
    check(unsafe { libc::setgroups(1, &raw const gid) })?;
    // SAFETY: takes its arguments by value.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: takes its arguments by value. Last, as it gives up the right to
    // do the others.
    check(unsafe { libc::setresuid(uid, uid, uid) })
}
