//! The switch under load, under faults and with peers that misbehave.

use super::*;

const SOON: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(50);

fn frame(to: u8, from: u8, number: u32) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, to]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, from]);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[14..18].try_into().unwrap())
}

fn socket_path(name: &str) -> PathBuf {
    let id = std::process::id();
    std::env::temp_dir().join(format!("ichor-switch-{id}-{name}"))
}

fn wait_for(what: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !what() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn it_floods_until_it_has_learned() {
    let switch = Switch::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| switch.port(name));
    a.send(&frame(2, 1, 0));
    assert_eq!(number(&b.recv(SOON).unwrap()), 0);
    assert_eq!(number(&c.recv(SOON).unwrap()), 0);
    b.send(&frame(1, 2, 1));
    assert_eq!(number(&a.recv(SOON).unwrap()), 1);
    a.send(&frame(2, 1, 2));
    assert_eq!(number(&b.recv(SOON).unwrap()), 2);
    assert_eq!(c.recv(NEVER), None, "learned by now");
    drop(b);
    a.send(&frame(2, 1, 3));
    assert_eq!(number(&c.recv(SOON).unwrap()), 3, "forgotten again");
}

#[test]
fn sockets_carry_frames_both_ways() {
    let mut switch = Switch::new();
    let path = socket_path("both");
    switch.listen(&path, "guest").unwrap();
    let port = switch.port("test");
    let mut guest = UnixStream::connect(&path).unwrap();
    wait_for(|| switch.has("guest"));

    let hello = frame(1, 2, 7);
    guest.write_all(&60_u32.to_be_bytes()).unwrap();
    // In pieces: a stream knows no frames.
    guest.write_all(&hello[..20]).unwrap();
    guest.write_all(&hello[20..]).unwrap();
    assert_eq!(port.recv(SOON), Some(hello));

    port.send(&frame(2, 1, 8));
    let mut answer = [0; 64];
    guest.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], 60_u32.to_be_bytes());
    assert_eq!(number(&answer[4..]), 8);

    drop(guest);
    wait_for(|| !switch.has("guest"));
    assert_eq!(switch.counters("guest").received, 1);
}

#[test]
fn a_peer_that_does_not_read_harms_nobody() {
    let mut switch = Switch::new();
    let path = socket_path("deaf");
    switch.listen(&path, "deaf").unwrap();
    let _deaf = UnixStream::connect(&path).unwrap();
    wait_for(|| switch.has("deaf"));
    let (a, b) = (switch.port("a"), switch.port("b"));
    let mut big = frame(9, 1, 0);
    big.resize(1514, 0);
    for n in 0..5_000_u32 {
        big[14..18].copy_from_slice(&n.to_be_bytes());
        a.send(&big);
        assert_eq!(number(&b.recv(SOON).unwrap()), n);
    }
    assert!(switch.counters("deaf").overflowed > 0);
}

#[test]
fn a_peer_with_the_wrong_framing_is_unplugged() {
    let mut switch = Switch::new();
    let path = socket_path("framing");
    switch.listen(&path, "browser").unwrap();
    let mut browser = UnixStream::connect(&path).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // The switch hangs up; the browser's next read ends.
    wait_for(|| !switch.has("browser"));
}

#[test]
fn faults_are_applied_and_repeat() {
    let arrivals = || {
        let switch = Switch::new();
        let (a, b) = (switch.port("a"), switch.port("b"));
        switch.order_all(Fault::bad_cable(0.1, 42));
        switch.order(Fault::duplicate(0.1));
        for n in 0..500 {
            a.send(&frame(2, 1, n));
        }
        let mut seen = Vec::new();
        while let Some(frame) = b.recv(NEVER) {
            seen.push(number(&frame));
        }
        seen
    };
    let seen = arrivals();
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_ne!(seen, sorted, "reordered");
    let count = sorted.len();
    sorted.dedup();
    assert!(sorted.len() < 500, "dropped");
    assert!(sorted.len() < count, "duplicated");
    assert_eq!(seen, arrivals());
}

#[test]
fn a_delayed_frame_arrives_later() {
    let switch = Switch::new();
    let (a, b) = (switch.port("a"), switch.port("b"));
    let delay = Duration::from_millis(80);
    switch.order(Fault::delay(1.0, delay).to("b").at_most(1));
    let sent = Instant::now();
    a.send(&frame(2, 1, 0));
    a.send(&frame(2, 1, 1));
    assert_eq!(number(&b.recv(SOON).unwrap()), 1);
    assert_eq!(number(&b.recv(SOON).unwrap()), 0);
    assert!(sent.elapsed() >= delay);
}

/// 100,000 full frames per second between two sockets is far more than TCG
/// guests can do. The bound here is a tenth of that, for busy machines.
#[test]
fn it_is_not_the_bottleneck() {
    const FRAMES: u32 = 100_000;
    let mut switch = Switch::new();
    let (from, to) = (socket_path("from"), socket_path("to"));
    switch.listen(&from, "from").unwrap();
    switch.listen(&to, "to").unwrap();
    let mut from = UnixStream::connect(from).unwrap();
    let mut to = UnixStream::connect(to).unwrap();
    wait_for(|| switch.has("from") && switch.has("to"));
    let start = Instant::now();
    let sender = thread::spawn(move || {
        let mut batch = Vec::new();
        for n in 0..FRAMES {
            let mut frame = frame(2, 1, n);
            frame.resize(1514, 0);
            batch.extend_from_slice(&1514_u32.to_be_bytes());
            batch.extend_from_slice(&frame);
            if n % 32 == 31 {
                from.write_all(&batch).unwrap();
                batch.clear();
            }
        }
        from
    });
    to.set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut bytes = 0;
    let mut buf = vec![0; READ_BATCH];
    while let Ok(n) = to.read(&mut buf) {
        bytes += n;
        if bytes == FRAMES as usize * 1518 {
            break;
        }
    }
    let _from = sender.join().unwrap();
    let rate = f64::from(FRAMES) / start.elapsed().as_secs_f64();
    let lost = switch.counters("to").overflowed;
    println!("{rate:.0} frames/s, {lost} lost to a slow reader");
    assert_eq!(
        switch.counters("to").received + switch.counters("from").received,
        100_000
    );
    assert!(rate > 10_000.0, "{rate:.0} frames/s");
}
