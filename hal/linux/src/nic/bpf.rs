//! Which frames the kernel copies to the stack: classic BPF programs.

use std::net::Ipv4Addr;

use libc::sock_filter;

use super::Admission;

/// Most ports of one protocol in a filter: its jumps reach 255 instructions.
const MAX_PORTS: usize = 100;

// Offsets in an Ethernet frame with ARP or IPv4 in it.
const ETHER_TYPE: u32 = 12;
const ARP_OPERATION: u32 = 20;
const ARP_TARGET: u32 = 38;
const IP: u32 = 14;
const IP_FRAGMENT: u32 = 20;
const IP_PROTOCOL: u32 = 23;
const IP_DESTINATION: u32 = 30;
const IPV6_NEXT_HEADER: u32 = 20;
const ICMPV6_TYPE: u32 = 54;
/// From the start of the IP header's options: `X` holds the header's length.
const DESTINATION_PORT: u32 = IP + 2;

const ETHER_TYPE_IPV4: u32 = 0x0800;
const ETHER_TYPE_ARP: u32 = 0x0806;
const ETHER_TYPE_IPV6: u32 = 0x86dd;
const ARP_REPLY: u32 = 2;
const FRAGMENT_OFFSET: u32 = 0x1fff;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;
const ROUTER_SOLICITATION: u32 = 133;

/// What the kernel knows of a frame besides its bytes (`SKF_AD_*`).
const ANCILLARY: u32 = 0xffff_f000;
const PACKET_TYPE: u32 = ANCILLARY + 4;
const VLAN_TAG_PRESENT: u32 = ANCILLARY + 48;
const PACKET_OUTGOING: u32 = 4;

/// Drops everything, silently: for sockets that only hold a port.
pub(crate) fn drop_all() -> Vec<sock_filter> {
    vec![instruction(RETURN, 0)]
}

/// The program for a packet socket.
pub(crate) fn admit(admission: &Admission) -> Vec<sock_filter> {
    let mut program = Program::default();
    // Frames of VLANs come without their tag, and are not for us.
    program.load(WORD, VLAN_TAG_PRESENT);
    program.jump(JUMP_EQUAL, 0, Next, Reject);
    // Nor is what this machine sends.
    program.load(WORD, PACKET_TYPE);
    program.jump(JUMP_EQUAL, PACKET_OUTGOING, Reject, Next);

    program.load(HALF, ETHER_TYPE);
    program.jump(JUMP_EQUAL, ETHER_TYPE_ARP, Next, Label(IS_IPV4));
    if let (Some(_), Some(address)) = (&admission.shared, admission.address) {
        program.load(HALF, ARP_OPERATION);
        program.jump(JUMP_EQUAL, ARP_REPLY, Next, Reject);
        program.load(WORD, ARP_TARGET);
        program.jump(JUMP_EQUAL, address.to_bits(), Accept, Reject);
    } else {
        program.jump(JUMP_ALWAYS, 0, Accept, Accept);
    }

    program.label(IS_IPV4);
    program.jump(JUMP_EQUAL, ETHER_TYPE_IPV4, Label(FOR_WHOM), Next);
    // All of IPv6 that the stack knows.
    program.jump(JUMP_EQUAL, ETHER_TYPE_IPV6, Next, Reject);
    program.load(BYTE, IPV6_NEXT_HEADER);
    program.jump(JUMP_EQUAL, ICMPV6, Next, Reject);
    program.load(BYTE, ICMPV6_TYPE);
    program.jump(JUMP_EQUAL, ROUTER_SOLICITATION, Accept, Reject);

    program.label(FOR_WHOM);
    if let Some(address) = admission.address {
        program.load(WORD, IP_DESTINATION);
        for own in [Some(address), admission.broadcast].into_iter().flatten() {
            program.jump(JUMP_EQUAL, own.to_bits(), Label(IS_FOR_US), Next);
        }
        program.jump(JUMP_EQUAL, Ipv4Addr::BROADCAST.to_bits(), Next, Reject);
        program.label(IS_FOR_US);
    }
    if let Some(ports) = &admission.shared {
        // A later fragment has no ports; smoltcp would not reassemble it.
        program.load(HALF, IP_FRAGMENT);
        program.jump(JUMP_ANY_BIT, FRAGMENT_OFFSET, Reject, Next);
        program.push(LOAD_IP_HEADER_LENGTH, IP);
        program.load(BYTE, IP_PROTOCOL);
        program.jump(JUMP_EQUAL, TCP, Next, Label(IS_UDP));
        program.load(HALF_AFTER_IP, DESTINATION_PORT);
        for port in ports.tcp.iter().take(MAX_PORTS) {
            program.jump(JUMP_EQUAL, u32::from(*port), Accept, Next);
        }
        program.jump(JUMP_ALWAYS, 0, Reject, Reject);
        program.label(IS_UDP);
        program.jump(JUMP_EQUAL, UDP, Next, Reject);
        program.load(HALF_AFTER_IP, DESTINATION_PORT);
        for port in ports.udp.iter().take(MAX_PORTS) {
            program.jump(JUMP_EQUAL, u32::from(*port), Accept, Next);
        }
        program.jump(JUMP_ALWAYS, 0, Reject, Reject);
    } else {
        program.jump(JUMP_ALWAYS, 0, Accept, Accept);
    }
    program.assemble()
}

// Where a jump goes. Labels count up in the order they appear in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Next,
    Accept,
    Reject,
    Label(usize),
}
use Target::{Accept, Label, Next, Reject};

const IS_IPV4: usize = 0;
const FOR_WHOM: usize = 1;
const IS_FOR_US: usize = 2;
const IS_UDP: usize = 3;
const LABELS: usize = 4;

// Operation codes (linux/bpf_common.h).
const WORD: u16 = 0x20;
const HALF: u16 = 0x28;
const BYTE: u16 = 0x30;
const HALF_AFTER_IP: u16 = 0x48;
const LOAD_IP_HEADER_LENGTH: u16 = 0xb1;
const JUMP_ALWAYS: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// As much of a frame as there is.
const WHOLE_FRAME: u32 = 0x0004_0000;

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Instructions whose jumps are not resolved yet.
#[derive(Default)]
struct Program {
    code: Vec<(sock_filter, Target, Target)>,
    labels: [usize; LABELS],
}

impl Program {
    fn push(&mut self, code: u16, k: u32) {
        self.code.push((instruction(code, k), Next, Next));
    }

    fn load(&mut self, width: u16, offset: u32) {
        self.push(width, offset);
    }

    fn jump(&mut self, code: u16, k: u32, yes: Target, no: Target) {
        self.code.push((instruction(code, k), yes, no));
    }

    fn label(&mut self, label: usize) {
        self.labels[label] = self.code.len();
    }

    fn assemble(self) -> Vec<sock_filter> {
        let (accept, reject) = (self.code.len(), self.code.len() + 1);
        let mut program: Vec<_> = self
            .code
            .iter()
            .enumerate()
            .map(|(at, &(instruction, yes, no))| {
                let distance = |target| match target {
                    Next => 0,
                    Accept => accept - at - 1,
                    Reject => reject - at - 1,
                    Label(label) => self.labels[label] - at - 1,
                };
                match instruction.code {
                    JUMP_ALWAYS => sock_filter {
                        k: distance(yes) as u32,
                        ..instruction
                    },
                    _ => sock_filter {
                        jt: distance(yes) as u8,
                        jf: distance(no) as u8,
                        ..instruction
                    },
                }
            })
            .collect();
        program.push(instruction(RETURN, WHOLE_FRAME));
        program.push(instruction(RETURN, 0));
        program
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ports;
    use super::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const THEIRS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
    const NETWORK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 255);

    /// Runs a program as the kernel does: loads out of bounds reject.
    fn run(program: &[sock_filter], frame: &[u8], packet_type: u32, tagged: u32) -> bool {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0);
        loop {
            let op = &program[at];
            at += 1;
            let bytes = |offset: u32, n: usize| {
                let start = offset as usize;
                let bytes = frame.get(start..start + n)?;
                Some(bytes.iter().fold(0, |v, b| v << 8 | u32::from(*b)))
            };
            let loaded = match op.code {
                WORD if op.k == PACKET_TYPE => Some(packet_type),
                WORD if op.k == VLAN_TAG_PRESENT => Some(tagged),
                WORD => bytes(op.k, 4),
                HALF => bytes(op.k, 2),
                BYTE => bytes(op.k, 1),
                HALF_AFTER_IP => bytes(op.k + x, 2),
                LOAD_IP_HEADER_LENGTH => {
                    let Some(byte) = bytes(op.k, 1) else {
                        return false;
                    };
                    x = (byte & 15) * 4;
                    continue;
                }
                JUMP_ALWAYS => {
                    at += op.k as usize;
                    continue;
                }
                JUMP_EQUAL | JUMP_ANY_BIT => {
                    let yes = match op.code {
                        JUMP_EQUAL => a == op.k,
                        _ => a & op.k != 0,
                    };
                    at += usize::from(if yes { op.jt } else { op.jf });
                    continue;
                }
                RETURN => return op.k != 0,
                code => panic!("operation {code:#x}"),
            };
            match loaded {
                Some(value) => a = value,
                None => return false,
            }
        }
    }

    fn arp(operation: u8, target: Ipv4Addr) -> Vec<u8> {
        let mut frame = vec![0; 42];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        frame[21] = operation;
        frame[38..42].copy_from_slice(&target.octets());
        frame
    }

    fn ip(protocol: u8, destination: Ipv4Addr, port: u16, options: u8) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + usize::from(options) * 4 + 20];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45 + options;
        frame[23] = protocol;
        frame[30..34].copy_from_slice(&destination.octets());
        let at = 14 + 20 + usize::from(options) * 4 + 2;
        frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
        frame
    }

    fn icmpv6(kind: u8) -> Vec<u8> {
        let mut frame = vec![0; 70];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[20] = 58;
        frame[54] = kind;
        frame
    }

    #[test]
    fn a_shared_address_leaves_the_rest_to_the_kernel() {
        let program = admit(&Admission {
            address: Some(OURS),
            broadcast: Some(NETWORK),
            shared: Some(Ports {
                tcp: vec![8080, 80],
                udp: vec![67, 69],
            }),
        });
        let fragment = {
            let mut frame = ip(17, OURS, 69, 0);
            frame[21] = 1;
            frame
        };
        let cases = [
            ("ARP reply to us", arp(2, OURS), true),
            ("ARP reply to another", arp(2, THEIRS), false),
            ("ARP request", arp(1, OURS), false),
            ("our HTTP", ip(6, OURS, 8080, 0), true),
            ("our HTTP, IP options", ip(6, OURS, 80, 5), true),
            ("SSH", ip(6, OURS, 22, 0), false),
            ("TFTP", ip(17, OURS, 69, 0), true),
            ("TCP to a UDP port", ip(6, OURS, 69, 0), false),
            ("DHCP broadcast", ip(17, Ipv4Addr::BROADCAST, 67, 0), true),
            ("DHCP to the network", ip(17, NETWORK, 67, 0), true),
            ("another's", ip(6, THEIRS, 8080, 0), false),
            ("ping", ip(1, OURS, 0, 0), false),
            ("a later fragment", fragment, false),
            ("a short frame", vec![0x08, 0x00], false),
            ("who looks for a router", icmpv6(133), true),
            ("other IPv6", icmpv6(135), false),
        ];
        for (name, frame, admitted) in cases {
            assert_eq!(run(&program, &frame, 0, 0), admitted, "{name}");
            assert!(!run(&program, &frame, PACKET_OUTGOING, 0), "{name}, sent");
            assert!(!run(&program, &frame, 0, 1), "{name}, of a VLAN");
        }
    }

    #[test]
    fn an_own_address_takes_everything_for_it() {
        let program = admit(&Admission {
            address: Some(OURS),
            ..Admission::default()
        });
        for (frame, admitted) in [
            (arp(1, OURS), true),
            (arp(2, OURS), true),
            (ip(1, OURS, 0, 0), true),
            (ip(6, OURS, 22, 0), true),
            (ip(17, Ipv4Addr::BROADCAST, 67, 0), true),
            (ip(6, THEIRS, 22, 0), false),
            (icmpv6(133), true),
            (icmpv6(135), false),
        ] {
            assert_eq!(run(&program, &frame, 0, 0), admitted);
        }
        let any = admit(&Admission::default());
        assert!(run(&any, &ip(6, THEIRS, 22, 0), 0, 0));
        assert!(!run(&drop_all(), &arp(1, OURS), 0, 0));
    }
}
