//! A request head, parsed into types once (RFC 9112 §2 to §6).

use httparse::Header;

use super::etag::{ETag, ETagCondition};
use super::range::{ByteRange, decimal};
use super::response::{Framing, Refusal, Reply, Status};
use super::target::{PathBuf, Query, Target, decode_path};
use crate::update::{Proof, hex};

/// Most fields of a request. Boot firmware sends up to 6, browsers about 20.
pub const MAX_FIELDS: usize = 32;

const TLS: Refusal = Refusal::new(
    Status::BadRequest,
    "TLS sent to a plain HTTP port",
    "Write http:// in the URL, not https://.",
);
const MALFORMED: Refusal = Refusal::new(
    Status::BadRequest,
    "malformed request head",
    "Expected a request line, fields and an empty line as in RFC 9112.",
);
const VERSION: Refusal = Refusal::new(
    Status::VersionNotSupported,
    "only HTTP/1.0 and 1.1 here",
    "The request line names another version of HTTP.",
);
pub(crate) const METHOD: Refusal = Refusal::new(
    Status::MethodNotAllowed,
    "only GET and HEAD here",
    "This server hands out files and scripts; only updates can be sent to it.",
);
const TOO_MANY_FIELDS: Refusal = Refusal::new(
    Status::HeaderFieldsTooLarge,
    "too many header fields",
    "At most 32 fields in one request.",
);
pub(super) const HEAD_TOO_LARGE: Refusal = Refusal::new(
    Status::HeaderFieldsTooLarge,
    "request head too large",
    "Send fewer or shorter header fields; cookies are not needed here.",
);
pub(super) const URI_TOO_LONG: Refusal = Refusal::new(
    Status::UriTooLong,
    "request line too long",
    "The path and query must fit the buffer for request heads.",
);
const LENGTH_TWICE: Refusal = Refusal::new(
    Status::BadRequest,
    "ambiguous body length",
    "Content-Length was given twice, or together with Transfer-Encoding.",
);
const BAD_LENGTH: Refusal = Refusal::new(
    Status::BadRequest,
    "bad Content-Length",
    "Expected a decimal number of bytes.",
);
const CODING: Refusal = Refusal::new(
    Status::NotImplemented,
    "unknown Transfer-Encoding",
    "Of the transfer codings only chunked is known.",
);
const EXPECTATION: Refusal = Refusal::new(
    Status::ExpectationFailed,
    "unknown Expect field",
    "Only 100-continue can be expected of this server.",
);
const NO_HOST: Refusal = Refusal::new(
    Status::BadRequest,
    "no Host field",
    "HTTP/1.1 requests must say which host they mean (RFC 9112 section 3.2).",
);
const BAD_HOST: Refusal = Refusal::new(
    Status::BadRequest,
    "bad or repeated Host field",
    "Expected one name or address with an optional port.",
);

/// The methods that are served (RFC 9110 §9.3.1, §9.3.2, §9.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Method {
    /// The entity.
    Get,
    /// Its head alone.
    Head,
    /// A new one in its place: updates alone.
    Put,
}

/// What follows the head of a request (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Body {
    /// Nothing: no length was told.
    None,
    /// As many bytes as `Content-Length` tells; may be 0.
    Sized(u64),
    /// Chunks, which are not read here: nobody knows where they end.
    Chunked,
}

impl Body {
    /// Bytes between the head and the next request.
    pub(super) const fn len(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Sized(len) => len,
            Self::Chunked => u64::MAX,
        }
    }
}

/// The value of `If-Range` (RFC 9110 §13.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IfRange {
    /// The range counts if this is the entity's tag.
    Tag(ETag),
    /// A date, a weak tag or a tag of another server: the range never counts.
    Never,
}

/// A well-formed request for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// GET, HEAD or PUT.
    pub method: Method,
    /// The path: percent-decoded, starts with `/`, and has no empty, `.` or
    /// `..` segment, control character or backslash. A `/` at its end stays.
    pub path: &'a str,
    /// What follows the first `?`, as it came; empty if nothing does.
    pub raw_query: &'a str,
    /// Host and port that the client used, from the target or else from
    /// `Host`. May be empty.
    pub host: Option<&'a str>,
    /// `User-Agent`: tells iPXE from UEFI firmware from Talos in the journal.
    pub user_agent: Option<&'a str>,
    /// The one range that was asked for.
    pub range: Option<ByteRange>,
    /// Condition for the range.
    pub if_range: Option<IfRange>,
    /// Condition for answering at all.
    pub if_match: Option<ETagCondition>,
    /// Condition for sending the entity.
    pub if_none_match: Option<ETagCondition>,
    /// What follows the head.
    pub body: Body,
    /// Whether the client waits for `100 Continue` before it sends the body
    /// (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// The fields that sign an update, if all are there and well formed.
    pub proof: Option<Proof>,
    /// What the request allows in any response that leaves its body unread.
    pub framing: Framing,
    /// Whether the connection may stay open once the body was read.
    pub(super) persistent: bool,
}

impl<'a> Request<'a> {
    /// The parameters of the query, in order. Which of two equal names counts
    /// is the caller's choice.
    pub fn query(&self) -> Query<'a> {
        Query::new(self.raw_query)
    }

    /// The reply to this request that says why it gets nothing.
    pub fn refuse(&self, refusal: Refusal) -> Reply {
        Reply {
            refusal,
            framing: self.framing,
        }
    }
}

/// Parses one request head at the beginning of `bytes`; the decoded path goes
/// to `path`.
///
/// `Ok(None)` means that the head is not complete yet. With the request comes
/// the length of its head. After an `Err` nobody knows where the next request
/// would begin: the reply says `Connection: close`.
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    path: &'a mut PathBuf,
) -> Result<Option<(Request<'a>, usize)>, Reply> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let outcome = head.parse(bytes);
    let method = match head.method {
        Some("GET") => Some(Method::Get),
        Some("HEAD") => Some(Method::Head),
        Some("PUT") => Some(Method::Put),
        _ => None,
    };
    let framing = Framing {
        body: method != Some(Method::Head),
        keep_alive: false,
    };
    let refuse = |refusal| Reply { refusal, framing };

    let head_len = match outcome {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(refuse(malformed(error, bytes))),
    };
    let (Some(target), Some(minor)) = (head.path, head.version) else {
        return Err(refuse(MALFORMED));
    };
    let method = method.ok_or(refuse(METHOD))?;
    let fields = Fields::parse(head.headers).map_err(refuse)?;
    let target = Target::parse(target).map_err(refuse)?;
    // HTTP/1.0 knew no Host; since then it is required even when the target
    // is a whole URL, which then counts more (RFC 9112 §3.2, §3.2.2).
    if minor >= 1 && fields.host.is_none() {
        return Err(refuse(NO_HOST));
    }
    let host = target.authority.or(fields.host);
    if !host.is_none_or(is_authority) {
        return Err(refuse(BAD_HOST));
    }
    let path = decode_path(target.path, path).map_err(refuse)?;

    // Persistence (RFC 9112 §9.3). Behind a body that is not read, the next
    // request cannot be found: such connections close after the response.
    let persistent = !fields.close && (minor >= 1 || fields.keep_alive);
    let (body, proof) = (fields.body(), fields.proof());
    let request = Request {
        method,
        path,
        raw_query: target.query,
        host,
        user_agent: fields.user_agent,
        range: fields.range.flatten(),
        if_range: fields.if_range,
        if_match: fields.if_match,
        if_none_match: fields.if_none_match,
        body,
        // A client of HTTP/1.0 does not know the answer to it.
        expects_continue: fields.expects_continue && minor >= 1,
        proof,
        framing: Framing {
            keep_alive: persistent && body.len() == 0,
            ..framing
        },
        persistent,
    };
    Ok(Some((request, head_len)))
}

/// What to say about a head that `httparse` gave up on.
fn malformed(error: httparse::Error, bytes: &[u8]) -> Refusal {
    /// First byte of a TLS record that holds a ClientHello.
    const HANDSHAKE: u8 = 22;
    match error {
        _ if bytes.first() == Some(&HANDSHAKE) => TLS,
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        // Also what comes of a space in the path.
        httparse::Error::Version if names_http(bytes) => VERSION,
        _ => MALFORMED,
    }
}

/// Whether the third word of the request line is a version of HTTP.
fn names_http(bytes: &[u8]) -> bool {
    bytes
        .split(|byte| *byte == b' ')
        .nth(2)
        .is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// The fields that matter here.
#[derive(Debug, Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    user_agent: Option<&'a str>,
    close: bool,
    keep_alive: bool,
    content_length: Option<u64>,
    transfer_encoding: bool,
    expects_continue: bool,
    nonce: Option<[u8; Proof::NONCE_LEN]>,
    sha256: Option<[u8; 32]>,
    mac: Option<[u8; 32]>,
    /// `Some(None)`: the field is there, but to be ignored.
    range: Option<Option<ByteRange>>,
    if_range: Option<IfRange>,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
}

impl<'a> Fields<'a> {
    fn parse(headers: &[Header<'a>]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for header in headers {
            fields.add(header)?;
        }
        // Two lengths are how requests are smuggled past a proxy
        // (RFC 9112 §6.1, §6.3).
        if fields.transfer_encoding && fields.content_length.is_some() {
            return Err(LENGTH_TWICE);
        }
        Ok(fields)
    }

    fn body(&self) -> Body {
        match self.content_length {
            _ if self.transfer_encoding => Body::Chunked,
            Some(len) => Body::Sized(len),
            None => Body::None,
        }
    }

    fn proof(&self) -> Option<Proof> {
        Some(Proof {
            nonce: self.nonce?,
            sha256: self.sha256?,
            mac: self.mac?,
        })
    }

    fn add(&mut self, header: &Header<'a>) -> Result<(), Refusal> {
        let value = header.value;
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("Host") {
            let host = core::str::from_utf8(value).map_err(|_| BAD_HOST)?;
            if self.host.replace(host).is_some() || !is_authority(host) {
                return Err(BAD_HOST);
            }
        } else if is("User-Agent") {
            self.user_agent = core::str::from_utf8(value).ok();
        } else if is("Connection") {
            for option in value.split(|byte| *byte == b',') {
                let option = option.trim_ascii();
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("Content-Length") {
            let len = decimal(value).ok_or(BAD_LENGTH)?;
            if self.content_length.replace(len).is_some() {
                return Err(LENGTH_TWICE);
            }
        } else if is("Transfer-Encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(CODING);
            }
            self.transfer_encoding = true;
        } else if is("Expect") {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(EXPECTATION);
            }
            self.expects_continue = true;
        } else if is("Ichor-Nonce") {
            self.nonce = hex::decode(value);
        } else if is("Ichor-Sha256") {
            self.sha256 = hex::decode(value);
        } else if is("Ichor-Mac") {
            self.mac = hex::decode(value);
        } else if is("Range") {
            // Two fields are two ranges, which are ignored.
            self.range = Some(match self.range {
                None => ByteRange::parse(value),
                Some(_) => None,
            });
        } else if is("If-Range") {
            self.if_range = Some(ETag::parse_strong(value).map_or(IfRange::Never, IfRange::Tag));
        } else if is("If-Match") {
            add_condition(&mut self.if_match, value);
        } else if is("If-None-Match") {
            add_condition(&mut self.if_none_match, value);
        }
        Ok(())
    }
}

fn add_condition(condition: &mut Option<ETagCondition>, value: &[u8]) {
    match condition {
        Some(condition) => condition.add(value),
        None => *condition = Some(ETagCondition::parse(value)),
    }
}

/// Whether the text can be a host with an optional port, by its characters
/// (RFC 3986 §3.2.2). User information is no part of it (RFC 9110 §4.2.4).
fn is_authority(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(text: &str, check: impl FnOnce(&Request<'_>, usize) -> T) -> T {
        let mut path = PathBuf::new();
        match parse(text.as_bytes(), &mut path) {
            Ok(Some((request, len))) => check(&request, len),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> Option<Reply> {
        parse(text.as_bytes(), &mut PathBuf::new()).err()
    }

    /// Written after what these clients send; not captures.
    #[test]
    fn requests_as_boot_clients_write_them() {
        // iPXE
        let ipxe = "GET /ipxe?uuid=6a1e&mac=52-54-00-12-34-56&arch=arm64 HTTP/1.1\r\n\
                    Connection: keep-alive\r\nUser-Agent: iPXE/1.21.1+ (g988d)\r\n\
                    Host: 192.0.2.1:8080\r\n\r\n";
        with(ipxe, |r, len| {
            assert_eq!((r.method, r.path), (Method::Get, "/ipxe"));
            assert_eq!(r.raw_query, "uuid=6a1e&mac=52-54-00-12-34-56&arch=arm64");
            assert!(r.query().any(|p| p.name.is("mac")));
            assert_eq!(r.host, Some("192.0.2.1:8080"));
            assert_eq!(r.user_agent, Some("iPXE/1.21.1+ (g988d)"));
            assert!(r.framing.keep_alive);
            assert_eq!(len, ipxe.len());
        });
        // EDK2 HTTP Boot
        let edk2 = "HEAD /boot.efi HTTP/1.1\r\nHost: 192.0.2.1\r\nAccept: */*\r\n\
                    User-Agent: UefiHttpBoot/1.0\r\n\r\n";
        with(edk2, |r, _| {
            assert_eq!((r.method, r.path), (Method::Head, "/boot.efi"));
            assert_eq!(r.host, Some("192.0.2.1"));
            assert!(!r.framing.body && r.framing.keep_alive);
        });
        // Go's net/http, as in Talos
        let talos = "GET /generic?uuid=${uuid} HTTP/1.1\r\nHost: 192.0.2.1:8080\r\n\
                     User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n";
        with(talos, |r, _| assert_eq!(r.raw_query, "uuid=${uuid}"));
        // wget of busybox
        with(
            "GET /a HTTP/1.1\r\nHost: h\r\nUser-Agent: Wget\r\nConnection: close\r\n\r\n",
            |r, _| assert!(!r.framing.keep_alive),
        );
        // U-Boot's wget: version 1.0 without any field
        with("GET /Image HTTP/1.0\r\n\r\n", |r, _| {
            assert_eq!((r.path, r.host), ("/Image", None));
            assert!(!r.framing.keep_alive);
        });
    }

    #[test]
    fn persistence() {
        for (version, fields, keep_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: Keep-Alive, CLOSE\r\n", false),
            ("1.1", "Connection: x\r\nConnection: \tclose \r\n", false),
            ("1.1", "Connection: closed\r\n", true),
            ("1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", true),
            ("1.0", "Connection: x,keep-alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
            ("1.1", "Content-Length: 0\r\n", true),
            ("1.1", "Content-Length: 5\r\n", false),
            ("1.1", "Transfer-Encoding: chunked\r\n", false),
            (
                "1.0",
                "Connection: keep-alive\r\nContent-Length: 1\r\n",
                false,
            ),
        ] {
            let text = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
            with(&text, |r, _| {
                assert_eq!(r.framing.keep_alive, keep_alive, "{text}");
            });
        }
    }

    #[test]
    fn what_follows_the_head() {
        let put = |version: &str, fields: &str| {
            format!("PUT /update/firmware HTTP/{version}\r\nHost: h\r\n{fields}\r\n")
        };
        for (version, fields, body, expects_continue) in [
            ("1.1", "", Body::None, false),
            ("1.1", "Content-Length: 0\r\n", Body::Sized(0), false),
            ("1.1", "Content-Length: 7\r\n", Body::Sized(7), false),
            (
                "1.1",
                "Expect: 100-Continue\r\nContent-Length: 18446744073709551615\r\n",
                Body::Sized(u64::MAX),
                true,
            ),
            (
                "1.0",
                "Expect: 100-continue\r\nContent-Length: 7\r\n",
                Body::Sized(7),
                false,
            ),
            (
                "1.1",
                "Transfer-Encoding: chunked\r\n",
                Body::Chunked,
                false,
            ),
        ] {
            with(&put(version, fields), |r, _| {
                assert_eq!(r.method, Method::Put);
                assert_eq!((r.body, r.expects_continue), (body, expects_continue));
                assert_eq!(r.persistent, version == "1.1");
                assert_eq!(r.framing.keep_alive, r.persistent && body.len() == 0);
            });
        }
    }

    #[test]
    fn a_signature_is_whole_and_well_formed_or_none() {
        let fields = [
            format!("Ichor-Nonce: {}\r\n", "0a".repeat(24)),
            format!("ichor-sha256: {}\r\n", "0B".repeat(32)),
            format!("Ichor-Mac: {}\r\n", "0c".repeat(32)),
        ];
        let proof = |fields: &str| {
            let text = format!("PUT / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            with(&text, |request, _| request.proof)
        };
        let whole = Some(Proof {
            nonce: [0x0a; 24],
            sha256: [0x0b; 32],
            mac: [0x0c; 32],
        });
        let all = fields.concat();
        assert_eq!(proof(&all), whole);
        for (index, field) in fields.iter().enumerate() {
            assert_eq!(proof(&all.replace(field.as_str(), "")), None, "{index}");
        }
        for (right, wrong) in [("0a0a", "0a0"), ("0B", "0G"), ("0c0c", "0c 0c")] {
            assert_eq!(proof(&all.replacen(right, wrong, 1)), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        for (text, want) in [
            // Bodies of two lengths.
            (
                get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
                LENGTH_TWICE,
            ),
            (
                get("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
                LENGTH_TWICE,
            ),
            (
                get("Content-Length: 5\r\ncontent-length: 6\r\n"),
                LENGTH_TWICE,
            ),
            (
                get("Content-Length: 5\r\nContent-Length: 5\r\n"),
                LENGTH_TWICE,
            ),
            (get("Content-Length: 5, 5\r\n"), BAD_LENGTH),
            (get("Content-Length: +5\r\n"), BAD_LENGTH),
            (get("Content-Length: -1\r\n"), BAD_LENGTH),
            (get("Content-Length: 0x5\r\n"), BAD_LENGTH),
            (get("Content-Length:\r\n"), BAD_LENGTH),
            (get("Transfer-Encoding: xchunked\r\n"), CODING),
            (get("Transfer-Encoding: chunked, identity\r\n"), CODING),
            (get("Transfer-Encoding: \x0bchunked\r\n"), MALFORMED),
            (get("Transfer-Encoding : chunked\r\n"), MALFORMED),
            (get("X: a\r\n folded\r\n"), MALFORMED),
            (get("X: a\rContent-Length: 5\r\n"), MALFORMED),
            (get("X: a\0\r\n"), MALFORMED),
            (get("no colon\r\n"), MALFORMED),
            (get(" Content-Length: 5\r\n"), MALFORMED),
            (get(&"X: y\r\n".repeat(MAX_FIELDS)), TOO_MANY_FIELDS),
            (get("Expect: 200-ok\r\n"), EXPECTATION),
            // Hosts.
            ("GET / HTTP/1.1\r\n\r\n".into(), NO_HOST),
            ("GET http://h/ HTTP/1.1\r\n\r\n".into(), NO_HOST),
            (get("Host: h\r\n"), BAD_HOST),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), BAD_HOST),
            ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n".into(), BAD_HOST),
            ("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n".into(), BAD_HOST),
            (
                "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n".into(),
                BAD_HOST,
            ),
            // Methods.
            ("POST / HTTP/1.1\r\nHost: h\r\n\r\n".into(), METHOD),
            ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".into(), METHOD),
            ("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n".into(), METHOD),
            ("get / HTTP/1.1\r\nHost: h\r\n\r\n".into(), METHOD),
            ("BREW / HTTP/1.1\r\nHost: h\r\n\r\n".into(), METHOD),
            // Versions and other protocols.
            ("GET / HTTP/2.0\r\n\r\n".into(), VERSION),
            ("GET / HTTP/1.2\r\n\r\n".into(), VERSION),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), VERSION),
            ("GET /\r\n".into(), MALFORMED),
            ("GET /a b HTTP/1.1\r\n\r\n".into(), MALFORMED),
            ("GET / http/1.1\r\n\r\n".into(), MALFORMED),
            ("\x16\x03\x01\x02\0\x01\0".into(), TLS),
            ("SSH-2.0-OpenSSH_9.2\r\n".into(), MALFORMED),
        ] {
            let got = refusal(&text);
            assert_eq!(got.map(|reply| reply.refusal), Some(want), "{text:?}");
            assert!(got.is_some_and(|reply| !reply.framing.keep_alive));
        }
    }

    #[test]
    fn a_refused_head_request_gets_no_body() {
        for text in [
            "HEAD /.. HTTP/1.0\r\n\r\n",
            "HEAD / HTTP/1.1\r\n\r\n",
            "HEAD / HTTP/3.0\r\n\r\n",
            "HEAD / HTTP/1.1\r\nbad field\r\n\r\n",
        ] {
            assert!(refusal(text).is_some_and(|r| !r.framing.body), "{text}");
        }
    }

    #[test]
    fn hosts_and_targets() {
        for (text, host, path) in [
            ("GET /a HTTP/1.0", None, "/a"),
            ("GET /a HTTP/1.1\r\nHost:", Some(""), "/a"),
            (
                "GET /a HTTP/1.1\r\nHost: [2001:db8::1]:80",
                Some("[2001:db8::1]:80"),
                "/a",
            ),
            ("GET http://t:1/a HTTP/1.1\r\nHost: h", Some("t:1"), "/a"),
            ("GET http://t HTTP/1.0", Some("t"), "/"),
            ("\r\n\r\nGET /a HTTP/1.0", None, "/a"),
            ("GET /a HTTP/1.0\nHost: bare-lf", Some("bare-lf"), "/a"),
        ] {
            with(&format!("{text}\r\n\r\n"), |r, _| {
                assert_eq!((r.host, r.path), (host, path), "{text}");
            });
        }
    }

    #[test]
    fn no_prefix_of_a_request_is_an_error() {
        let text = "GET http://h/a%20b?c=d HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n";
        for end in 0..text.len() {
            let mut path = PathBuf::new();
            assert_eq!(parse(&text.as_bytes()[..end], &mut path), Ok(None), "{end}");
        }
    }
}
