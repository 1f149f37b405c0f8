//! `autoexec.ipxe`: how a node comes from nothing to its boot server.

use core::fmt;
use core::num::NonZeroU16;
use std::net::Ipv4Addr;

/// Where `ichor` serves HTTP if nobody says otherwise.
const HTTP_PORT: u16 = 8080;
/// See [`Script::tries`]: 10 minutes of pauses alone.
const TRIES: NonZeroU16 = NonZeroU16::new(60).expect("not zero");
/// Between two tries, in seconds.
const PAUSE: u16 = 10;
/// How long nothing may come of the first script, in seconds.
const SILENCE: u16 = 20;

/// What the script is to say.
///
/// Each try asks for an address anew, then for `/boot.ipxe`, which leads to
/// all the rest; so one that came to nothing, whether by a DHCP server that
/// stalls or by a bastion that is still asleep, costs some seconds and nothing
/// else. After the last one the machine resets itself and so begins once more
/// with a network card that nobody has touched: at night nobody sits at a
/// prompt, and a node that keeps asking is up when its server is. What it costs
/// meanwhile is bounded by the node's time to live. Each failure says on the
/// serial console, which `get-console-output` shows, what to look at; `s` in a
/// pause gives a shell to those who do sit there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// The boot server's own address.
    pub stack: Ipv4Addr,
    /// Its HTTP port.
    pub http_port: u16,
    /// Tries until the machine resets itself.
    pub tries: NonZeroU16,
}

impl Script {
    /// For a server with the usual port.
    pub const fn new(stack: Ipv4Addr) -> Self {
        Self {
            stack,
            http_port: HTTP_PORT,
            tries: TRIES,
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stack,
            http_port,
            tries,
        } = self;
        let (pause, silence) = (u32::from(PAUSE) * 1000, u32::from(SILENCE) * 1000);
        // `imgfree`: what a failed try has loaded would be loaded twice.
        // `ifclose`: the next try opens the card afresh.
        write!(
            f,
            "\
#!ipxe
# Made by ichor. Everything else comes from the boot server named here.
set boot-server http://{stack}:{http_port}
set try:int32 0

:try
inc try
echo
echo ichor: try ${{try}} of {tries}: an address by DHCP
imgfree
dhcp || goto no-address
echo ichor: this is ${{mac}} at ${{ip}}, router ${{gateway}}
echo ichor: booting from ${{boot-server}}/boot.ipxe
chain --timeout {silence} ${{boot-server}}/boot.ipxe || goto no-boot
echo ichor: ${{boot-server}} sent a script that boots nothing
goto again

:no-address
echo ichor: NO ADDRESS. In a VPC it is AWS that answers DHCP: this passes, or the subnet is full
goto again

:no-boot
echo ichor: NO BOOT from ${{boot-server}}: the line above says why
echo ichor: is the bastion on, does ichor run there, does its security group let tcp {http_port} in from here?

:again
ifclose
iseq ${{try}} {tries} && goto give-up ||
echo ichor: trying again in {PAUSE} s; press s for a shell
prompt --key s --timeout {pause} || goto try
echo ichor: leave the shell with reboot
shell
goto reset

:give-up
echo ichor: GIVING UP after {tries} tries: resetting the machine
:reset
reboot
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_the_server_that_it_was_made_for() {
        let script = Script {
            http_port: 80,
            tries: NonZeroU16::MIN,
            ..Script::new(Ipv4Addr::new(10, 20, 13, 141))
        };
        let text = script.to_string();
        for line in [
            "set boot-server http://10.20.13.141:80",
            "chain --timeout 20000 ${boot-server}/boot.ipxe || goto no-boot",
            "iseq ${try} 1 && goto give-up ||",
            "prompt --key s --timeout 10000 || goto try",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    /// A script ends at the first command that fails and is not followed by
    /// `||`, and a `goto` to nowhere fails.
    #[test]
    fn it_always_goes_on() {
        let text = Script::new(Ipv4Addr::LOCALHOST).to_string();
        assert!(text.starts_with("#!ipxe\n"));
        let labels: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(':'))
            .collect();
        let mut words = text.split_whitespace();
        let mut gotos = 0;
        while words.any(|word| word == "goto") {
            let to = words.next().unwrap();
            assert!(labels.contains(&to), "goto {to}");
            gotos += 1;
        }
        assert!(gotos >= labels.len());
        for line in text.lines() {
            let command = line.split(' ').next().unwrap();
            let may_fail = ["dhcp", "chain", "iseq", "prompt"].contains(&command);
            assert_eq!(may_fail, line.contains("||"), "{line}");
            assert!(line.len() < 120, "a console is narrow: {line}");
        }
    }
}
