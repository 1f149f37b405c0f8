//! The HTTP server's sockets: one connection after the other, per task.

mod upload;

use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddrV4;
use core::task::{Context, Poll, Waker};

use embassy_net::tcp::TcpSocket;
use embassy_net::{IpAddress, IpEndpoint, Stack};
use embassy_time::{Duration, Instant, with_deadline};
use ichor_hal::{Files, Updates};

use super::nudge::{Flows, Patience};
use super::site::{Accepted, Answer, Event, Site};
use crate::catalog::{Answers, Window};
use crate::http::{
    Connection, HEAD_LEN, Limits, Method, Plan, Progress, RESPONSE_HEAD_LEN, Timeout,
};
use crate::journal::{Record, Stage};

/// When a peer stops acknowledging, its connection is given up after this.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// For the last packets of a connection to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection after the other on `port`, for ever. Run as many of
/// these as there shall be connections at once.
///
/// A connection's throughput is bounded by the length of `send` for each
/// round trip.
pub async fn serve<F: Files, J: Record, C: Answers, U: Updates>(
    stack: Stack<'_>,
    port: u16,
    site: &Site<'_, F, J, C, U>,
    flows: &Flows,
    receive: &mut [u8],
    send: &mut [u8],
) -> ! {
    let mut socket = TcpSocket::new(stack, receive, send);
    loop {
        let visitor = accept(&mut socket, port, flows).await;
        visitor.serve(site).await;
    }
}

/// Waits for a connection on `port`, with a socket that may have served others.
///
/// For boards that have a heap: the future of this one is small, and that of
/// [`Visitor::serve`] is needed only while somebody is there.
pub async fn accept<'s, 'b>(
    socket: &'s mut TcpSocket<'b>,
    port: u16,
    flows: &'s Flows,
) -> Visitor<'s, 'b> {
    socket.set_nagle_enabled(false);
    socket.set_timeout(Some(ACK_TIMEOUT));
    loop {
        // What is left of the last connection.
        socket.abort();
        if socket.accept(port).await.is_ok()
            && let Some(IpEndpoint {
                addr: IpAddress::Ipv4(ip),
                port: peer_port,
            }) = socket.remote_endpoint()
        {
            return Visitor {
                socket,
                peer: SocketAddrV4::new(ip, peer_port),
                flows,
            };
        }
    }
}

/// An open connection that nothing was read from yet.
pub struct Visitor<'s, 'b> {
    socket: &'s mut TcpSocket<'b>,
    peer: SocketAddrV4,
    flows: &'s Flows,
}

impl Visitor<'_, '_> {
    /// Answers requests until the connection ends.
    pub async fn serve<F: Files, J: Record, C: Answers, U: Updates>(
        self,
        site: &Site<'_, F, J, C, U>,
    ) {
        let Self {
            socket,
            peer,
            flows,
        } = self;
        let _open = flows.enter();
        let mut line = Line {
            socket,
            conn: Connection::new(Instant::now(), Limits::DEFAULT),
            peer,
            flows,
            patience: Patience::new(flows.patience(peer), Instant::now()),
            written: 0,
            acknowledged: 0,
        };
        if line.serve(site).await.is_err() {
            // A reset: the peer must not take what it has for the whole.
            line.socket.abort();
        }
        let _ = with_deadline(Instant::now() + FLUSH_TIMEOUT, line.socket.flush()).await;
    }
}

/// The connection is of no use any more: reset it.
#[derive(Debug)]
struct Broken;

/// One connection with its socket.
struct Line<'s, 'b> {
    socket: &'s mut TcpSocket<'b>,
    conn: Connection<HEAD_LEN>,
    peer: SocketAddrV4,
    flows: &'s Flows,
    patience: Patience,
    /// Bytes handed to the socket, and how many of them the peer had when
    /// somebody looked last.
    written: u64,
    acknowledged: u64,
}

impl Line<'_, '_> {
    async fn serve<F: Files, J: Record, C: Answers, U: Updates>(
        &mut self,
        site: &Site<'_, F, J, C, U>,
    ) -> Result<(), Broken> {
        let mut out = [0; RESPONSE_HEAD_LEN];
        loop {
            match self.conn.next_request(Instant::now()) {
                Progress::NeedMore => {
                    if !self.receive().await? {
                        return self.linger().await;
                    }
                }
                Progress::Request(request) if request.method == Method::Put => {
                    let expects_continue = request.expects_continue;
                    let accepted = site.accept(&request, *self.peer.ip(), &mut out).await;
                    match accepted.map_err(|_| Broken)? {
                        Accepted::Upload(upload) => {
                            self.receive_upload(site, upload, expects_continue, &mut out)
                                .await?;
                        }
                        Accepted::Refused(len) => self.send_bytes(&out[..len]).await?,
                    }
                    self.flush().await?;
                    self.conn.finished(Instant::now());
                }
                Progress::Request(request) => {
                    self.patience.begin(Instant::now());
                    let answer = site.answer(&request, *self.peer.ip(), &mut out).await;
                    // By reference: what is moved into a future takes room in
                    // it twice, for each connection there can be.
                    match &answer {
                        Ok(answer) => self.send_answer(site, answer, &mut out).await?,
                        Err(_) => return Err(Broken),
                    }
                    self.flush().await?;
                    self.conn.finished(Instant::now());
                }
                Progress::Reply(reply) => {
                    site.note_malformed(*self.peer.ip(), &reply.refusal);
                    let len = reply.write(&mut out).map_err(|_| Broken)?;
                    self.send_bytes(&out[..len]).await?;
                }
                Progress::Close => return self.linger().await,
            }
        }
    }

    /// Waits for more of a request; false when none will come.
    async fn receive(&mut self) -> Result<bool, Broken> {
        let deadline = self.conn.deadline();
        match with_deadline(deadline, self.socket.read(self.conn.recv_buf())).await {
            Ok(Ok(0)) => Ok(false),
            Ok(Ok(n)) => {
                self.conn.received(n, Instant::now());
                Ok(true)
            }
            Ok(Err(_)) => Err(Broken),
            Err(_) => match self.conn.timed_out(Instant::now()) {
                Timeout::Reply(reply) => {
                    let mut out = [0; RESPONSE_HEAD_LEN];
                    let len = reply.write(&mut out).map_err(|_| Broken)?;
                    self.send_bytes(&out[..len]).await?;
                    Ok(false)
                }
                Timeout::Close => Ok(false),
                Timeout::Abort => Err(Broken),
            },
        }
    }

    async fn send_answer<F: Files, J: Record, C: Answers, U>(
        &mut self,
        site: &Site<'_, F, J, C, U>,
        answer: &Answer<'_, F::File, C>,
        out: &mut [u8; RESPONSE_HEAD_LEN],
    ) -> Result<(), Broken> {
        let started = Instant::now();
        let (result, event, first, len) = match answer {
            Answer::Text(len) => return self.send_bytes(&out[..*len]).await,
            Answer::Page { plan, page } => {
                let body = self.send_head(plan, out).await?;
                // Of a page in memory.
                let (first, len) = (body.first as usize, body.len as usize);
                return self.send_bytes(&page.as_bytes()[first..first + len]).await;
            }
            Answer::File { plan, file, event } => {
                let body = self.send_head(plan, out).await?;
                let result = self.send_file(site.files, file, body.first, body.len).await;
                (result, event, body.first, body.len)
            }
            Answer::Document {
                plan,
                document,
                event,
            } => {
                let body = self.send_head(plan, out).await?;
                let result = self
                    .send_text(body.first, body.len, |window| document.render(window))
                    .await;
                (result, event, body.first, body.len)
            }
        };
        if len > 0 {
            let took = Instant::now().saturating_duration_since(started);
            note(site.journal, event, result.is_ok(), first, len, took);
        }
        result
    }

    async fn send_head(
        &mut self,
        plan: &Plan,
        out: &mut [u8; RESPONSE_HEAD_LEN],
    ) -> Result<crate::http::BodyPlan, Broken> {
        let body = plan.write_head(out).map_err(|_| Broken)?;
        self.send_bytes(&out[..body.head_len]).await?;
        Ok(body)
    }

    async fn send_bytes(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let n = self.write_with(|room| {
                let n = room.len().min(bytes.len());
                room[..n].copy_from_slice(&bytes[..n]);
                (n, n)
            });
            let n = n.await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Sends `len` bytes of a file, read straight into the socket's buffer.
    async fn send_file<F: Files>(
        &mut self,
        files: &F,
        file: &F::File,
        mut offset: u64,
        mut len: u64,
    ) -> Result<(), Broken> {
        let waker = own_waker().await;
        while len > 0 {
            let mut cx = Context::from_waker(&waker);
            let read = self.write_with(|room| {
                let want = room.len().min(usize::try_from(len).unwrap_or(usize::MAX));
                let read = files.poll_read_at(&mut cx, file, offset, &mut room[..want]);
                match read {
                    Poll::Ready(Ok(n)) => (n, read),
                    Poll::Ready(Err(_)) | Poll::Pending => (0, read),
                }
            });
            match read.await? {
                // Shorter than it was when its length was told, or unreadable:
                // both end the connection, never in padding.
                Poll::Ready(Ok(0) | Err(_)) => {
                    warn!(
                        "http: a file changed or failed while {} was reading it",
                        self.peer
                    );
                    return Err(Broken);
                }
                Poll::Ready(Ok(n)) => {
                    offset += n as u64;
                    len -= n as u64;
                }
                Poll::Pending => parked().await,
            }
        }
        Ok(())
    }

    /// Sends `len` bytes from offset `first` of what `render` writes. It is
    /// rendered anew for every piece, so that no copy of it is kept: all but
    /// the longest texts fit the socket's buffer at once.
    async fn send_text(
        &mut self,
        first: u64,
        len: u64,
        render: impl Fn(&mut dyn fmt::Write) -> fmt::Result,
    ) -> Result<(), Broken> {
        let end = first + len;
        let mut offset = first;
        while offset < end {
            let n = self.write_with(|room| {
                let want = room
                    .len()
                    .min(usize::try_from(end - offset).unwrap_or(usize::MAX));
                let skip = usize::try_from(offset).unwrap_or(usize::MAX);
                let mut window = Window::new(skip, &mut room[..want]);
                // Only the window could fail, and it takes everything.
                let _ = render(&mut window);
                let n = window.bytes().len();
                (n, n)
            });
            match n.await? {
                0 => return Err(Broken),
                n => offset += n as u64,
            }
        }
        Ok(())
    }

    /// Waits for room in the socket's buffer and has it filled; the peer's
    /// minimum rate is kept.
    async fn write_with<R>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> (usize, R),
    ) -> Result<R, Broken> {
        loop {
            let wait = self.next_look()?;
            if with_deadline(wait, self.socket.wait_write_ready())
                .await
                .is_ok()
            {
                break;
            }
            self.look_for_progress();
        }
        let written = self.socket.write_with(|room| {
            let (n, result) = fill(room);
            (n, (n, result))
        });
        let (n, result) = written.await.map_err(|_| Broken)?;
        self.written += n as u64;
        if self.has_progressed() {
            self.patience.progressed(Instant::now());
        }
        self.conn.progress(Instant::now(), n);
        Ok(result)
    }

    /// Waits until the peer has everything.
    async fn flush(&mut self) -> Result<(), Broken> {
        loop {
            let wait = self.next_look()?;
            match with_deadline(wait, self.socket.flush()).await {
                Ok(flushed) => return flushed.map_err(|_| Broken),
                Err(_) => self.look_for_progress(),
            }
        }
    }

    /// When to look whether the peer has acknowledged anything; an error if it
    /// was too slow already.
    fn next_look(&self) -> Result<Instant, Broken> {
        let now = Instant::now();
        let deadline = self.conn.deadline();
        if now >= deadline {
            return Err(Broken);
        }
        Ok(deadline.min(now + self.patience.wait()))
    }

    /// Has the stack send again if nothing was acknowledged since the last
    /// look.
    fn look_for_progress(&mut self) {
        if self.has_progressed() {
            self.patience.progressed(Instant::now());
        } else {
            self.flows.stalled(self.peer);
            self.patience.nudged();
        }
    }

    /// Whether the peer has acknowledged anything since this was asked last.
    fn has_progressed(&mut self) -> bool {
        let acknowledged = self.written.saturating_sub(self.socket.send_queue() as u64);
        core::mem::replace(&mut self.acknowledged, acknowledged) < acknowledged
    }

    /// Ends the connection so that the peer sees the last reply: closes this
    /// side, and reads on until the peer has closed its own.
    async fn linger(&mut self) -> Result<(), Broken> {
        self.socket.close();
        let deadline = match self.conn.next_request(Instant::now()) {
            Progress::Close => self.conn.deadline(),
            _ => Instant::now() + FLUSH_TIMEOUT,
        };
        let mut rest = [0; 256];
        loop {
            match with_deadline(deadline, self.socket.read(&mut rest)).await {
                Ok(Ok(n)) if n > 0 => {}
                Ok(_) => return Ok(()),
                Err(_) => return Err(Broken),
            }
        }
    }
}

/// Tells the journal how a transfer went. Parts are not told, but for the one
/// that ends the file: some clients fetch a file in many.
fn note(journal: &impl Record, event: &Event, whole: bool, first: u64, len: u64, took: Duration) {
    let Event {
        who,
        stage,
        detail,
        end,
    } = event;
    let now = Instant::now();
    let ms = took.as_millis();
    if !whole {
        journal.record(
            now,
            *who,
            Stage::Failed,
            format_args!("{detail}: broke off after {ms} ms"),
        );
    } else if let Some(stage) = *stage
        && first + len == *end
    {
        journal.record(
            now,
            *who,
            stage,
            format_args!("{detail} ({len} bytes in {ms} ms)"),
        );
    }
}

/// The waker of the task that awaits this.
async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// Waits to be woken once, by whatever was given the task's waker before.
async fn parked() {
    let mut asked = false;
    poll_fn(|_| {
        if core::mem::replace(&mut asked, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
