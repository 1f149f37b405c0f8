//! From a request and what it names to a response: conditions and ranges.

use super::etag::ETag;
use super::range::Selection;
use super::request::{IfRange, Method, Request};
use super::response::{Framing, ResponseHead, Status, TooLong};

/// What a path stands for, as a route tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entity {
    /// Length of the whole in bytes.
    pub len: u64,
    /// Changes whenever the bytes do; without one, no condition but `*` holds
    /// and ranges cannot be made conditional.
    pub etag: Option<ETag>,
    /// The media type, see [`content_type`](super::content_type).
    pub content_type: &'static str,
}

/// How to answer: the head, and which bytes of the entity follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The status of the response.
    pub status: Status,
    /// The entity that was asked for.
    pub entity: Entity,
    /// Which part of it the head speaks of.
    pub selection: Selection,
    /// What the request allows.
    pub framing: Framing,
}

/// What to send: a head, then bytes of the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPlan {
    /// Length of the head in bytes.
    pub head_len: usize,
    /// Offset of the entity's first byte to send.
    pub first: u64,
    /// Number of bytes to send; 0 when no body follows.
    pub len: u64,
}

/// Applies the conditions and the range of `request` to `entity`, in the
/// order of RFC 9110 §13.2.2.
pub fn respond(request: &Request<'_>, entity: Entity) -> Plan {
    let plan = |status, selection| Plan {
        status,
        entity,
        selection,
        framing: request.framing,
    };
    if let Some(condition) = &request.if_match
        && !condition.matches_strong(entity.etag)
    {
        return plan(Status::PreconditionFailed, Selection::Whole);
    }
    if let Some(condition) = &request.if_none_match
        && condition.matches_weak(entity.etag)
    {
        return plan(Status::NotModified, Selection::Whole);
    }
    // Range is defined for GET alone (RFC 9110 §14.2), and If-Range turns it
    // off when the client's part is of another version (§13.1.5).
    let unchanged = match request.if_range {
        None => true,
        Some(IfRange::Tag(tag)) => entity.etag == Some(tag),
        Some(IfRange::Never) => false,
    };
    let selection = match request.range {
        Some(range) if unchanged && request.method == Method::Get => range.select(entity.len),
        _ => Selection::Whole,
    };
    let status = match selection {
        Selection::Whole => Status::Ok,
        Selection::Part { .. } => Status::PartialContent,
        Selection::Unsatisfiable => Status::RangeNotSatisfiable,
    };
    plan(status, selection)
}

impl Plan {
    /// Writes the head into `out`, for which
    /// [`RESPONSE_HEAD_LEN`](super::RESPONSE_HEAD_LEN) bytes are enough, and
    /// says which bytes of the entity follow.
    pub fn write_head(&self, out: &mut [u8]) -> Result<BodyPlan, TooLong> {
        let Entity {
            len: whole,
            etag,
            content_type,
        } = self.entity;
        let (first, len) = match (self.status, self.selection) {
            (Status::Ok, Selection::Whole) => (0, whole),
            (_, Selection::Part { first, len }) => (first, len),
            _ => (0, 0),
        };

        let mut head = ResponseHead::new(out, self.status, self.framing);
        match self.selection {
            Selection::Unsatisfiable => {
                head.field("Content-Range", format_args!("bytes */{whole}"));
            }
            Selection::Part { first, len } => {
                let last = first.saturating_add(len).saturating_sub(1);
                head.field(
                    "Content-Range",
                    format_args!("bytes {first}-{last}/{whole}"),
                );
            }
            Selection::Whole => {}
        }
        if let Some(etag) = etag {
            head.field("ETag", etag);
        }
        if matches!(self.status, Status::Ok | Status::PartialContent) {
            head.field("Accept-Ranges", "bytes")
                .field("Content-Type", content_type);
        }
        // The length in a 304 would be that of the 200, which old clients
        // take for a body that follows; the field is optional there
        // (RFC 9110 §8.6).
        if self.status != Status::NotModified {
            head.field("Content-Length", len);
        }
        Ok(BodyPlan {
            head_len: head.finish()?,
            first,
            len: if self.framing.body { len } else { 0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::parse;
    use crate::http::response::RESPONSE_HEAD_LEN;
    use crate::http::target::PathBuf;

    const TAG: ETag = ETag::new(0xabc);
    const ENTITY: Entity = Entity {
        len: 1000,
        etag: Some(TAG),
        content_type: "application/efi",
    };

    /// The response to a request with these fields: its head and what follows.
    fn answer(method: &str, fields: &str, entity: Entity) -> (String, u64, u64) {
        let text = format!("{method} /f HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let mut path = PathBuf::new();
        let (request, _) = parse(text.as_bytes(), &mut path).unwrap().unwrap();
        let mut out = [0; RESPONSE_HEAD_LEN];
        let body = respond(&request, entity).write_head(&mut out).unwrap();
        let head = str::from_utf8(&out[..body.head_len]).unwrap().to_owned();
        (head, body.first, body.len)
    }

    #[test]
    fn whole_heads() {
        let tag = "ETag: \"0000000000000abc\"\r\n";
        let whole = format!(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n{tag}Accept-Ranges: bytes\r\n\
             Content-Type: application/efi\r\nContent-Length: 1000\r\n\r\n"
        );
        assert_eq!(answer("GET", "", ENTITY), (whole.clone(), 0, 1000));
        assert_eq!(answer("HEAD", "", ENTITY), (whole, 0, 0));

        let part = format!(
            "HTTP/1.1 206 Partial Content\r\nConnection: keep-alive\r\n\
             Content-Range: bytes 10-19/1000\r\n{tag}Accept-Ranges: bytes\r\n\
             Content-Type: application/efi\r\nContent-Length: 10\r\n\r\n"
        );
        assert_eq!(
            answer("GET", "Range: bytes=10-19\r\n", ENTITY),
            (part, 10, 10)
        );

        let beyond = format!(
            "HTTP/1.1 416 Range Not Satisfiable\r\nConnection: keep-alive\r\n\
             Content-Range: bytes */1000\r\n{tag}Content-Length: 0\r\n\r\n"
        );
        assert_eq!(
            answer("GET", "Range: bytes=1000-\r\n", ENTITY),
            (beyond, 0, 0)
        );

        let same = format!("HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n{tag}\r\n");
        assert_eq!(answer("GET", "If-None-Match: *\r\n", ENTITY), (same, 0, 0));
    }

    #[test]
    fn conditions_and_ranges_together() {
        const SAME: &str = "\"0000000000000abc\"";
        const OTHER: &str = "\"0000000000000abd\"";
        let range = "Range: bytes=5-6\r\n";
        // method, fields, status, first, len
        for (method, fields, status, first, len) in [
            ("GET", format!("If-None-Match: {SAME}\r\n"), 304, 0, 0),
            ("HEAD", format!("If-None-Match: {SAME}\r\n"), 304, 0, 0),
            ("GET", format!("If-None-Match: W/{SAME}\r\n"), 304, 0, 0),
            (
                "GET",
                format!("If-None-Match: {OTHER}, {SAME}\r\n"),
                304,
                0,
                0,
            ),
            (
                "GET",
                format!("If-None-Match: {SAME}\r\n{range}"),
                304,
                0,
                0,
            ),
            ("GET", format!("If-None-Match: {OTHER}\r\n"), 200, 0, 1000),
            (
                "GET",
                format!("If-None-Match: {OTHER}\r\n{range}"),
                206,
                5,
                2,
            ),
            ("GET", format!("If-Match: {SAME}\r\n{range}"), 206, 5, 2),
            ("GET", format!("If-Match: W/{SAME}\r\n"), 412, 0, 0),
            ("GET", format!("If-Match: {OTHER}\r\n"), 412, 0, 0),
            (
                "GET",
                format!("If-Match: {SAME}\r\nIf-None-Match: {SAME}\r\n"),
                304,
                0,
                0,
            ),
            ("GET", format!("If-Range: {SAME}\r\n{range}"), 206, 5, 2),
            ("GET", format!("If-Range: {OTHER}\r\n{range}"), 200, 0, 1000),
            (
                "GET",
                format!("If-Range: W/{SAME}\r\n{range}"),
                200,
                0,
                1000,
            ),
            (
                "GET",
                format!("If-Range: Sat, 29 Oct 1994 19:43:31 GMT\r\n{range}"),
                200,
                0,
                1000,
            ),
            ("GET", format!("If-Range: {OTHER}\r\n"), 200, 0, 1000),
            (
                "GET",
                format!("If-Range: {OTHER}\r\nRange: bytes=2000-\r\n"),
                200,
                0,
                1000,
            ),
            ("GET", "Range: bytes=-10\r\n".into(), 206, 990, 10),
            ("GET", "Range: bytes=0-0,5-6\r\n".into(), 200, 0, 1000),
            ("GET", format!("{range}{range}"), 200, 0, 1000),
            ("HEAD", range.into(), 200, 0, 0),
            ("HEAD", "Range: bytes=2000-\r\n".into(), 200, 0, 0),
        ] {
            let (head, f, l) = answer(method, &fields, ENTITY);
            assert_eq!(head[9..12], status.to_string(), "{method} {fields}");
            assert_eq!((f, l), (first, len), "{method} {fields}");
        }
    }

    #[test]
    fn entities_without_a_tag_or_a_length() {
        let text = Entity {
            etag: None,
            ..ENTITY
        };
        let (head, ..) = answer("GET", "If-None-Match: \"0000000000000abc\"\r\n", text);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(!head.contains("ETag"));

        let empty = Entity { len: 0, ..ENTITY };
        let (head, first, len) = answer("GET", "", empty);
        assert!(head.ends_with("Content-Length: 0\r\n\r\n"));
        assert_eq!((first, len), (0, 0));
        let (head, ..) = answer("GET", "Range: bytes=0-\r\n", empty);
        assert!(head.contains("416") && head.contains("bytes */0"));
    }

    #[test]
    fn the_longest_head_fits() {
        let huge = Entity {
            len: u64::MAX,
            etag: Some(TAG),
            content_type: "text/javascript; charset=utf-8",
        };
        let (head, first, len) = answer(
            "GET",
            "Connection: close\r\nRange: bytes=9999999999999999999-18446744073709551614\r\n",
            huge,
        );
        assert!(head.len() < 320, "{}", head.len());
        assert_eq!(first + len, u64::MAX);
    }
}
