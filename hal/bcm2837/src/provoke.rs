//! Failures on purpose, by a word on the kernel's command line: so that what a
//! board does when it fails can be seen on every image, and is tested.
//!
//! `ichor.provoke=` takes `overflow`, `null`, `code`, `panic` or `hang`. Whoever
//! writes `cmdline.txt` owns the board and could as well write another kernel.

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub enum Failure {
    /// The main stack runs into its guard page.
    Overflow,
    /// Address 0 is read.
    Null,
    /// Code is written to.
    Code,
    /// A panic.
    Panic,
    /// The main loop hangs.
    Hang,
}

impl Failure {
    const WORDS: [(&'static str, Self); 5] = [
        ("overflow", Self::Overflow),
        ("null", Self::Null),
        ("code", Self::Code),
        ("panic", Self::Panic),
        ("hang", Self::Hang),
    ];

    /// The failure that a command line asks for.
    pub fn asked_for(arguments: &str) -> Option<Self> {
        let word = arguments
            .split_ascii_whitespace()
            .find_map(|argument| argument.strip_prefix("ichor.provoke="))?;
        let known = Self::WORDS.iter().find(|(known, _)| *known == word);
        known.map(|(_, failure)| *failure)
    }

    /// Fails; returns if the board survives it, which it must not.
    #[cfg(target_os = "none")]
    pub fn provoke(self) {
        defmt::warn!("failing on purpose: {}", self);
        crate::console::flush();
        match self {
            Self::Overflow => {
                core::hint::black_box(overflow(0));
            }
            Self::Null => {
                let nowhere = core::hint::black_box(core::ptr::without_provenance::<u32>(4));
                // SAFETY: the address is not mapped, so the access ends in the
                // report of a fault and gives nothing back.
                unsafe { nowhere.read_volatile() };
            }
            Self::Code => {
                let code = (Self::provoke as fn(Self) as *mut u32).cast::<u32>();
                // SAFETY: code is mapped read-only, so the access ends in the
                // report of a fault and changes nothing.
                unsafe { code.write_volatile(0) };
            }
            Self::Panic => panic!("on purpose"),
            Self::Hang => loop {
                core::hint::spin_loop();
            },
        }
        defmt::error!("still here after: {}", self);
    }
}

/// Recursion without end that the compiler leaves as it is.
#[cfg(target_os = "none")]
fn overflow(depth: u64) -> u64 {
    if core::hint::black_box(depth) == u64::MAX {
        return 0;
    }
    let room = core::hint::black_box([depth; 32]);
    let below = overflow(core::hint::black_box(depth + 1));
    room.iter()
        .fold(below, |sum, value| sum.wrapping_add(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_fails_unless_asked_for() {
        let cases = [
            ("", None),
            ("console=serial0,115200 root=none", None),
            ("quiet ichor.provoke=panic x", Some(Failure::Panic)),
            ("ichor.provoke=overflow\n", Some(Failure::Overflow)),
            ("ichor.provoke=everything", None),
            ("ichor.provoke", None),
        ];
        for (arguments, failure) in cases {
            assert_eq!(Failure::asked_for(arguments), failure, "{arguments}");
        }
    }
}
