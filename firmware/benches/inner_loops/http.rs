//! Heads: a request as iPXE sends it is parsed, and the head of the response
//! with the file is written, on a connection that stays open.

use embassy_time::Instant;
use ichor::http::{
    Connection, ETag, Entity, Limits, Progress, RESPONSE_HEAD_LEN, content_type, respond,
};

use super::Turn;

const REQUEST: &[u8] = b"GET /assets/initramfs.xz HTTP/1.1\r\n\
    Connection: keep-alive\r\n\
    User-Agent: iPXE/1.21.1+git20250501\r\n\
    Host: 192.0.2.1:8080\r\n\r\n";
const FILE_LEN: u64 = 100_000_000;
const NOW: Instant = Instant::from_secs(1);

/// One request and the head of its response.
pub(super) fn head() -> Turn {
    let mut connection = Box::new(<Connection>::new(NOW, Limits::DEFAULT));
    let mut out = [0; RESPONSE_HEAD_LEN];
    Box::new(move || {
        connection.recv_buf()[..REQUEST.len()].copy_from_slice(REQUEST);
        connection.received(REQUEST.len(), NOW);
        let Progress::Request(request) = connection.next_request(NOW) else {
            panic!("the request is whole");
        };
        let entity = Entity {
            len: FILE_LEN,
            etag: Some(ETag::new(0x0123_4567_89ab_cdef)),
            content_type: content_type(request.path),
        };
        let plan = respond(&request, entity);
        let body = plan.write_head(&mut out).expect("room for a head");
        assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n") && body.len == FILE_LEN);
        connection.finished(NOW);
    })
}
