//! Tells frames from text in the bytes of a serial line.

use super::{Program, Said};

/// Longer than any frame: the board's buffer is shorter.
const MAX_PENDING: usize = 16 * 1024;
/// A line of at least so many characters that ends as terminals want it is
/// text even after bytes that are none. Shorter ones may be a part of a frame.
const SURE: usize = 8;

/// Decodes a serial line.
#[derive(Debug)]
pub struct Decoder {
    program: Option<Program>,
    /// What came since the last zero or the last line.
    pending: Vec<u8>,
    /// Whether the bytes since the last zero are text so far.
    in_text: bool,
    /// Whether no zero has come yet: then the line may have been joined in
    /// the middle of a frame.
    joining: bool,
}

impl Decoder {
    /// A decoder for a board that is about to start, or runs. Without its
    /// program, text alone can be read.
    #[must_use]
    pub fn new(program: Option<Program>) -> Self {
        Self {
            program,
            pending: Vec::new(),
            in_text: true,
            joining: true,
        }
    }

    /// Takes bytes as they come, and gives what they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        for &byte in bytes {
            if byte == 0 {
                self.end_of_frame(&mut said);
                self.in_text = false;
                self.joining = false;
                continue;
            }
            self.pending.push(byte);
            if byte == b'\n' {
                self.end_of_line(&mut said);
            }
            if self.pending.len() >= MAX_PENDING {
                self.give_up(&mut said);
            }
        }
        said
    }

    /// To be called when the line has been quiet for a while (a tenth of a
    /// second; frames come without pauses): gives lines that could have been
    /// the start of a frame until now.
    pub fn idle(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return said;
        };
        if is_text(&self.pending[..=end]) {
            self.take_lines(end + 1, &mut said);
        }
        said
    }

    /// To be called when the line has ended: gives what is left.
    pub fn end(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        if !self.pending.is_empty() {
            self.give_up(&mut said);
        }
        said
    }

    /// A zero came.
    fn end_of_frame(&mut self, said: &mut Vec<Said>) {
        if self.pending.is_empty() {
            return;
        }
        if self.in_text && is_text(&self.pending) {
            return self.take_lines(self.pending.len(), said);
        }
        if let Some(log) = self.decode(&self.pending) {
            self.pending.clear();
            return said.push(Said::Log(log));
        }
        if is_text(&self.pending) {
            return self.take_lines(self.pending.len(), said);
        }
        // A frame after text that no zero ended.
        let ends = self.pending.iter().enumerate();
        let ends = ends
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at + 1);
        for end in ends.collect::<Vec<_>>() {
            let (text, frame) = self.pending.split_at(end);
            if !is_text(text) {
                break;
            }
            if let Some(log) = self.decode(frame) {
                self.take_lines(end, said);
                self.pending.clear();
                return said.push(Said::Log(log));
            }
        }
        if self.joining {
            // Nobody can know how the first half of this frame was.
            return self.pending.clear();
        }
        self.give_up(said);
    }

    /// The end of a line came, if it is one.
    fn end_of_line(&mut self, said: &mut Vec<Said>) {
        if self.in_text && is_text(&self.pending) {
            return self.take_lines(self.pending.len(), said);
        }
        let Some(line) = self.pending.strip_suffix(b"\r\n") else {
            return;
        };
        let sure = line.iter().rev().take_while(|byte| is_printable(**byte));
        if sure.count() >= SURE {
            self.lose_before_text(said);
            self.take_lines(self.pending.len(), said);
            self.in_text = true;
        }
    }

    /// What is pending is as complete as it will be.
    fn give_up(&mut self, said: &mut Vec<Said>) {
        let line = self.pending.trim_ascii_end();
        let readable = line.iter().rev().take_while(|byte| is_readable(**byte));
        if is_text(&self.pending) || readable.count() >= SURE {
            self.lose_before_text(said);
            self.take_lines(self.pending.len(), said);
        } else {
            said.push(Said::Lost(self.pending.len()));
            self.pending.clear();
        }
    }

    /// Drops what is before the text that `pending` ends with: a frame that was
    /// cut short by a reset.
    fn lose_before_text(&mut self, said: &mut Vec<Said>) {
        if is_text(&self.pending) {
            return;
        }
        let text = self
            .pending
            .iter()
            .rev()
            .take_while(|byte| is_readable(**byte));
        let lost = self.pending.len() - text.count();
        if lost > 0 {
            if !self.joining {
                said.push(Said::Lost(lost));
            }
            self.pending.drain(..lost);
        }
    }

    /// Gives the first `count` bytes of `pending` as lines.
    fn take_lines(&mut self, count: usize, said: &mut Vec<Said>) {
        let text: Vec<u8> = self.pending.drain(..count).collect();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().map(|line| line.trim_end_matches('\r'));
        let lines = lines.filter(|line| !line.trim().is_empty());
        said.extend(lines.map(|line| Said::Text(line.to_owned())));
    }

    fn decode(&self, frame: &[u8]) -> Option<super::Log> {
        self.program.as_ref()?.decode(frame)
    }
}

/// Whether these bytes are text alone.
fn is_text(bytes: &[u8]) -> bool {
    let is_text = |byte: &u8| is_readable(*byte) || *byte == 0x1B || *byte >= 0x80;
    bytes.iter().all(is_text) && std::str::from_utf8(bytes).is_ok()
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

fn is_readable(byte: u8) -> bool {
    is_printable(byte) || matches!(byte, b'\t' | b'\r' | b'\n')
}
