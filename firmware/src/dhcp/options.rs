//! Options of a DHCP message: reading them from all areas (RFC 2131 §4.1,
//! option overload) and laying them out in what the client can take.

use core::net::Ipv4Addr;

use heapless::Vec;

use super::wire::WireError;

/// Codes that this server reads or writes (IANA "BOOTP Vendor Extensions and
/// DHCP Options").
#[allow(missing_docs)]
mod code {
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS: u8 = 6;
    pub const HOSTNAME: u8 = 12;
    pub const DOMAIN: u8 = 15;
    pub const MTU: u8 = 26;
    pub const NTP: u8 = 42;
    pub const VENDOR: u8 = 43;
    pub const REQUESTED_IP: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_MESSAGE: u8 = 57;
    pub const T1: u8 = 58;
    pub const T2: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_ID: u8 = 61;
    pub const TFTP_SERVER: u8 = 66;
    pub const BOOT_FILE: u8 = 67;
    pub const USER_CLASS: u8 = 77;
    pub const AGENT_INFORMATION: u8 = 82;
    pub const ARCHITECTURE: u8 = 93;
    pub const MACHINE_ID: u8 = 97;
    pub const SEARCH: u8 = 119;
    pub const ROUTES: u8 = 121;
    pub const IPXE: u8 = 175;
    pub const END: u8 = 255;
}
pub use code::*;

/// Most bytes in one instance of an option; longer values are split into
/// several (RFC 3396).
const MAX_VALUE: usize = 255;

/// Iterates over code and value of all options, in the order of RFC 3396 §5:
/// options area, then `file`, then `sname`, as far as option 52 says so.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    area: &'a [u8],
    later: [&'a [u8]; 2],
}

impl<'a> Options<'a> {
    pub(super) fn new(main: &'a [u8], file: &'a [u8], sname: &'a [u8]) -> Self {
        let alone = Self {
            area: main,
            later: [&[]; 2],
        };
        let overload = alone.clone().find(|(code, _)| *code == OVERLOAD);
        let later = match overload {
            Some((_, [1])) => [file, &[]],
            Some((_, [2])) => [sname, &[]],
            Some((_, [3])) => [file, sname],
            _ => [&[][..]; 2],
        };
        Self { later, ..alone }
    }

    /// Fails on the first option that reaches past the end of its area.
    pub(super) fn check(&self) -> Result<(), WireError> {
        let mut rest = self.clone();
        loop {
            match rest.step() {
                Step::Option(..) => (),
                Step::Truncated(code) => return Err(WireError::OptionTruncated(code)),
                Step::End => return Ok(()),
            }
        }
    }

    fn step(&mut self) -> Step<'a> {
        loop {
            match *self.area {
                [] | [END, ..] => {
                    let [next, last] = self.later;
                    if next.is_empty() {
                        self.area = &[];
                        return Step::End;
                    }
                    self.area = next;
                    self.later = [last, &[]];
                }
                [PAD, ref rest @ ..] => self.area = rest,
                [code] => {
                    self.area = &[];
                    return Step::Truncated(code);
                }
                [code, len, ref rest @ ..] => {
                    let Some((value, rest)) = rest.split_at_checked(usize::from(len)) else {
                        self.area = &[];
                        return Step::Truncated(code);
                    };
                    self.area = rest;
                    return Step::Option(code, value);
                }
            }
        }
    }

    /// The first value of an option.
    pub fn first(&self, code: u8) -> Option<&'a [u8]> {
        self.clone().find(|(c, _)| *c == code).map(|(_, v)| v)
    }

    /// The value of an option that has a fixed length.
    pub fn fixed<const N: usize>(&self, code: u8) -> Result<Option<[u8; N]>, WireError> {
        let Some(value) = self.first(code) else {
            return Ok(None);
        };
        match value.try_into() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(WireError::OptionLength(code, value.len())),
        }
    }

    /// The address that an option names.
    pub fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, WireError> {
        Ok(self.fixed::<4>(code)?.map(Ipv4Addr::from))
    }

    /// The whole value of an option that may come in several instances
    /// (RFC 3396); empty if there is none.
    pub fn concatenated<const N: usize>(&self, code: u8) -> Result<Vec<u8, N>, WireError> {
        let mut whole = Vec::new();
        for (_, value) in self.clone().filter(|(c, _)| *c == code) {
            let len = whole.len() + value.len();
            whole
                .extend_from_slice(value)
                .map_err(|_| WireError::OptionLength(code, len))?;
        }
        Ok(whole)
    }
}

enum Step<'a> {
    Option(u8, &'a [u8]),
    Truncated(u8),
    End,
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Step::Option(code, value) => Some((code, value)),
            Step::Truncated(_) | Step::End => None,
        }
    }
}

/// Whoever takes options one by one: a [`Measure`] or a [`Writer`].
pub trait Sink {
    /// Takes one option.
    fn put(&mut self, code: u8, value: &[u8]);
}

/// Bytes that an option takes with its code, length and splits.
const fn encoded_len(value: &[u8]) -> usize {
    let instances = value.len().div_ceil(MAX_VALUE);
    value.len() + 2 * if instances == 0 { 1 } else { instances }
}

/// Finds how many bytes options need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measure(pub usize);

impl Sink for Measure {
    fn put(&mut self, _code: u8, value: &[u8]) {
        self.0 += encoded_len(value);
    }
}

/// Lays options out in the areas of a message, most wanted first.
///
/// `file` and `sname` are taken only when the options area is too small for
/// all (RFC 2132 §9.3). What fits nowhere is left out and counted.
#[derive(Debug)]
pub struct Writer<'a> {
    main: Area<'a>,
    file: Area<'a>,
    sname: Area<'a>,
    /// Kept free in the options area: for option 52 and for `last`.
    reserved: usize,
    last: &'a [u8],
    overloads: bool,
    left_out: usize,
}

#[derive(Debug, Default)]
struct Area<'a> {
    bytes: &'a mut [u8],
    used: usize,
}

/// Length of option 52 itself.
const OVERLOAD_LEN: usize = 3;
/// Length of the end option.
const END_LEN: usize = 1;

impl<'a> Writer<'a> {
    /// `areas` are the options area, `file` and `sname`, the latter two empty
    /// if the message needs them for themselves. `needed` is what all options
    /// to come [`Measure`]. `last` is the value of option 82, which ends every
    /// reply (RFC 3046 §2.2); empty sends none.
    pub fn new(
        areas: (&'a mut [u8], &'a mut [u8], &'a mut [u8]),
        needed: usize,
        last: &'a [u8],
    ) -> Self {
        let (main, file, sname) = areas;
        let last_len = if last.is_empty() {
            0
        } else {
            encoded_len(last)
        };
        let overloads =
            needed + last_len + END_LEN > main.len() && (!file.is_empty() || !sname.is_empty());
        Self {
            main: Area::new(main),
            file: Area::new(if overloads { file } else { &mut [] }),
            sname: Area::new(if overloads { sname } else { &mut [] }),
            reserved: last_len + if overloads { OVERLOAD_LEN } else { 0 },
            last,
            overloads,
            left_out: 0,
        }
    }

    /// Ends all areas. Returns the bytes used of the options area, and how
    /// many options did not fit.
    pub fn finish(mut self) -> (usize, usize) {
        if self.overloads {
            let mut which = 0;
            for (bit, area) in [(1, &mut self.file), (2, &mut self.sname)] {
                if area.used > 0 {
                    which |= bit;
                    area.end();
                }
            }
            if which != 0 {
                self.main.put(0, OVERLOAD, &[which]);
            }
        }
        if !self.last.is_empty() && !self.main.put(0, AGENT_INFORMATION, self.last) {
            self.left_out += 1;
        }
        self.main.end();
        (self.main.used, self.left_out)
    }
}

impl Sink for Writer<'_> {
    fn put(&mut self, code: u8, value: &[u8]) {
        let fits = self.main.put(self.reserved, code, value)
            || self.file.put(0, code, value)
            || self.sname.put(0, code, value);
        if !fits {
            self.left_out += 1;
        }
    }
}

impl<'a> Area<'a> {
    const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, used: 0 }
    }

    /// Writes an option whole, or says that there is no room for it beside
    /// `reserved` bytes and the end option.
    fn put(&mut self, reserved: usize, code: u8, value: &[u8]) -> bool {
        let end = self.used + encoded_len(value);
        if end + reserved + END_LEN > self.bytes.len() {
            return false;
        }
        // An empty value has one empty instance.
        let empty: [&[u8]; 1] = [&[]];
        let none = empty.into_iter().filter(|_| value.is_empty());
        for part in value.chunks(MAX_VALUE).chain(none) {
            self.push(&[code, part.len() as u8]);
            self.push(part);
        }
        true
    }

    fn end(&mut self) {
        self.push(&[END]);
    }

    fn push(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.used..self.used + part.len()) {
            room.copy_from_slice(part);
            self.used += part.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<'a>(options: &Options<'a>) -> std::vec::Vec<(u8, &'a [u8])> {
        options.clone().collect()
    }

    #[test]
    fn overloaded_fields_follow_the_options_area() {
        let file = [12, 1, b'f', END, 9];
        let sname = [12, 1, b's'];
        type Case = (&'static [u8], &'static [u8]);
        let table: [Case; 5] = [
            (&[12, 1, b'm', END], b"m"),
            (&[12, 1, b'm', 52, 1, 1, END], b"mf"),
            (&[52, 1, 2, 12, 1, b'm'], b"ms"),
            (&[PAD, 12, 1, b'm', 52, 1, 3, END], b"mfs"),
            (&[12, 1, b'm', 52, 1, 9], b"m"),
        ];
        for (main, want) in table {
            let options = Options::new(main, &file, &sname);
            assert_eq!(options.check(), Ok(()), "{main:?}");
            assert_eq!(options.concatenated::<8>(12).unwrap(), want, "{main:?}");
        }
        // An overload option inside of an overloaded field means nothing.
        let options = Options::new(&[52, 1, 1], &[52, 1, 3], &sname);
        assert_eq!(options.first(12), None);
    }

    #[test]
    fn lengths_that_lie_are_found_in_every_area() {
        let table: [(&[u8], &[u8], u8); 4] = [
            (&[53], &[], 53),
            (&[53, 2, 1], &[], 53),
            (&[52, 1, 1], &[12, 9, 0], 12),
            (&[52, 1, 1, END], &[0, 0, 61], 61),
        ];
        for (main, file, code) in table {
            let options = Options::new(main, file, &[]);
            assert_eq!(options.check(), Err(WireError::OptionTruncated(code)));
        }
        let options = Options::new(&[50, 3, 1, 2, 3], &[], &[]);
        assert_eq!(
            options.address(REQUESTED_IP),
            Err(WireError::OptionLength(50, 3))
        );
        assert_eq!(
            options.concatenated::<2>(50),
            Err(WireError::OptionLength(50, 3))
        );
    }

    fn write<'a>(
        buffers: &'a mut (std::vec::Vec<u8>, std::vec::Vec<u8>, std::vec::Vec<u8>),
        options: &[(u8, &[u8])],
        last: &[u8],
    ) -> (Options<'a>, usize) {
        let mut measure = Measure::default();
        for (code, value) in options {
            measure.put(*code, value);
        }
        let (main, file, sname) = &mut *buffers;
        let mut writer = Writer::new((main, file, sname), measure.0, last);
        for (code, value) in options {
            writer.put(*code, value);
        }
        let (_, left_out) = writer.finish();
        let (main, file, sname) = buffers;
        let options = Options::new(main, file, sname);
        assert_eq!(options.check(), Ok(()));
        (options, left_out)
    }

    #[test]
    fn fields_are_overloaded_only_when_the_options_do_not_fit() {
        let options: &[(u8, &[u8])] = &[(53, &[5]), (12, b"0123456789"), (15, b"abcdef")];
        // 3 + 12 + 8 bytes, and the end.
        let mut exact = (vec![0; 24], vec![0; 16], vec![0; 16]);
        let (got, left_out) = write(&mut exact, options, &[]);
        assert_eq!((all(&got), left_out), (options.to_vec(), 0));

        let mut short = (vec![0; 23], vec![0; 16], vec![0; 16]);
        let (got, left_out) = write(&mut short, options, &[]);
        let want: &[(u8, &[u8])] = &[(53, &[5]), (12, b"0123456789"), (52, &[1]), (15, b"abcdef")];
        assert_eq!((all(&got), left_out), (want.to_vec(), 0));

        let mut taken = (vec![0; 23], vec![], vec![]);
        let (got, left_out) = write(&mut taken, options, &[]);
        assert_eq!((all(&got), left_out), (options[..2].to_vec(), 1));
    }

    #[test]
    fn relay_information_is_last_and_always_has_room() {
        let options: &[(u8, &[u8])] = &[(53, &[5]), (12, b"0123456789")];
        let mut buffers = (vec![0; 14], vec![], vec![0; 16]);
        let (got, left_out) = write(&mut buffers, options, b"relay");
        let want: &[(u8, &[u8])] = &[(53, &[5]), (52, &[2]), (82, b"relay"), (12, b"0123456789")];
        assert_eq!((all(&got), left_out), (want.to_vec(), 0));
    }

    #[test]
    fn long_values_are_split_and_read_as_one() {
        let long = [7; 300];
        let mut buffers = (vec![0; 320], vec![], vec![]);
        let (got, left_out) = write(&mut buffers, &[(121, &long), (12, &[])], &[]);
        assert_eq!(left_out, 0);
        assert_eq!(all(&got).len(), 3);
        assert_eq!(got.concatenated::<300>(121).unwrap(), long);
    }
}
