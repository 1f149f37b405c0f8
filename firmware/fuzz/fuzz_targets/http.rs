//! Whatever a peer sends, a connection neither panics nor spins, and what it
//! hands out keeps its promises.
#![no_main]

use embassy_time::Instant;
use ichor::http::{Connection, ETag, Entity, Limits, Progress, RESPONSE_HEAD_LEN, respond};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let now = Instant::from_secs(1);
    let mut conn = Connection::<512>::new(now, Limits::DEFAULT);
    let mut out = [0; RESPONSE_HEAD_LEN];
    // The first byte says in what pieces the rest arrives.
    let Some((step, mut rest)) = input.split_first() else {
        return;
    };
    let step = usize::from(*step).max(1);
    loop {
        match conn.next_request(now) {
            Progress::NeedMore if rest.is_empty() => {
                let _ = conn.timed_out(now);
                return;
            }
            Progress::NeedMore => {
                let buf = conn.recv_buf();
                let n = step.min(buf.len()).min(rest.len());
                assert!(n > 0, "more is needed, but there is no room");
                let (piece, tail) = rest.split_at(n);
                buf[..n].copy_from_slice(piece);
                rest = tail;
                conn.received(n, now);
            }
            Progress::Request(request) => {
                assert!(request.path.starts_with('/'));
                assert!(!request.path.split('/').any(|segment| segment == ".."));
                for parameter in request.query() {
                    let _ = parameter.value.decode(&mut [0; 32]);
                }
                let entity = Entity {
                    len: 1000,
                    etag: Some(ETag::new(1)),
                    content_type: "application/octet-stream",
                };
                let body = respond(&request, entity)
                    .write_head(&mut out)
                    .expect("head fits");
                assert!(body.first + body.len <= entity.len);
                conn.finished(now);
            }
            Progress::Reply(reply) => {
                reply.write(&mut out).expect("reply fits");
                assert!(matches!(conn.next_request(now), Progress::Close));
                return;
            }
            Progress::Close => return,
        }
    }
});
