//! Text for people in buffers of fixed size: what does not fit is cut off.

use core::fmt;

use heapless::String;

/// Formats text and keeps as many whole characters as fit.
pub(crate) fn cut<const N: usize>(text: fmt::Arguments<'_>) -> String<N> {
    let mut kept = Cut(String::new());
    // Cut text is the only error, and wanted.
    let _ = fmt::write(&mut kept, text);
    kept.0
}

struct Cut<const N: usize>(String<N>);

impl<const N: usize> fmt::Write for Cut<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = N - self.0.len();
        let (kept, rest) = text.split_at(text.floor_char_boundary(room));
        self.0.push_str(kept).map_err(|_| fmt::Error)?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_characters_are_kept() {
        assert_eq!(cut::<8>(format_args!("{}-{}", "abc", "def")), "abc-def");
        assert_eq!(cut::<8>(format_args!("abcdefgé")), "abcdefg");
        assert_eq!(cut::<8>(format_args!("{}{}", "abcdefghi", "j")), "abcdefgh");
    }
}
