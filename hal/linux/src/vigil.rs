//! When it pays to watch for news a little longer before going to sleep.
//!
//! To sleep and be woken takes the kernel longer than a near client takes to
//! acknowledge a block: a TFTP transfer spends most of its time there, as
//! nothing can be sent meanwhile. So after a few answers in a row that came
//! soon, the loop asks again and again for as long as another such one would
//! take, as hypervisors do with a processor that halts. It costs no more
//! processor time than sleeping and waking so often. Whoever has nothing to do,
//! serves TCP, or waits for clients farther away, never gets here.

use std::cell::Cell;
use std::time::Duration;

/// Answers within this time come soon, and no vigil is longer: as long as KVM
/// watches over a halted processor, and the time a client takes to store a
/// window of 16 blocks. It is all that is lost if nothing comes.
pub(crate) const SOON: Duration = Duration::from_micros(200);

/// Answers that must come soon before the first vigil, and after one in vain.
const NEEDED: u32 = 4;

/// The same after a vigil that was interrupted for as long again: somebody else
/// needs the processor.
const CEDED: u32 = 1000;

/// What recent waits say about the next.
#[derive(Debug)]
pub(crate) struct Vigil {
    /// Something was sent that will be answered.
    expected: Cell<bool>,
    /// Answers that must come soon before the next vigil.
    needed: Cell<u32>,
    /// With one processor, whom the loop waits for cannot run meanwhile.
    alone: bool,
}

impl Vigil {
    pub(crate) fn new(processors: usize) -> Self {
        Self {
            expected: Cell::new(false),
            needed: Cell::new(NEEDED),
            alone: processors < 2,
        }
    }

    /// The next wait is for an answer.
    pub(crate) fn expect_answer(&self) {
        self.expected.set(!self.alone);
    }

    /// Whether the wait that begins is for an answer. If so,
    /// [`answered`](Self::answered) is to be told of it.
    pub(crate) fn begin(&self) -> bool {
        self.expected.take()
    }

    /// Whether that wait is to begin with a vigil.
    pub(crate) fn is_due(&self) -> bool {
        self.needed.get() == 0
    }

    /// News came after this long.
    pub(crate) fn answered(&self, after: Duration) {
        self.needed.set(if after <= SOON {
            self.needed.get().saturating_sub(1)
        } else {
            self.needed.get().max(NEEDED)
        });
    }

    /// A vigil ended in vain after this long.
    pub(crate) fn in_vain(&self, after: Duration) {
        let interrupted = after >= SOON * 2;
        self.needed.set(if interrupted { CEDED } else { NEEDED });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = SOON.saturating_mul(2);

    #[test]
    fn a_few_answers_in_a_row_must_come_soon() {
        let vigil = Vigil::new(2);
        for after in [SOON, SOON, SOON, LATE, SOON, SOON, SOON] {
            vigil.answered(after);
            assert!(!vigil.is_due());
        }
        vigil.answered(Duration::ZERO);
        assert!(vigil.is_due());
        vigil.answered(SOON);
        assert!(vigil.is_due());
        vigil.answered(LATE);
        assert!(!vigil.is_due());
    }

    #[test]
    fn a_vigil_in_vain_must_be_earned_again() {
        for (took, answers) in [(SOON, NEEDED), (LATE, CEDED)] {
            let vigil = Vigil::new(2);
            (0..NEEDED).for_each(|_| vigil.answered(SOON));
            assert!(vigil.is_due());
            vigil.in_vain(took);
            // The answer itself, after all.
            vigil.answered(LATE);
            for _ in 0..answers {
                assert!(!vigil.is_due());
                vigil.answered(SOON);
            }
            assert!(vigil.is_due());
        }
    }

    #[test]
    fn an_answer_is_expected_once_and_never_on_a_single_processor() {
        let vigil = Vigil::new(2);
        assert!(!vigil.begin());
        vigil.expect_answer();
        assert!(vigil.begin());
        assert!(!vigil.begin());
        let vigil = Vigil::new(1);
        vigil.expect_answer();
        assert!(!vigil.begin());
    }
}
