//! The HTTP server's sockets: one connection after the other, per task.

mod upload;

use core::future::{Future as _, poll_fn};
use core::net::SocketAddrV4;
use core::pin::pin;
use core::task::{Context, Poll};

use embassy_net::tcp::TcpSocket;
use embassy_net::{IpAddress, IpEndpoint, Stack};
use embassy_time::{Duration, Instant, Timer, with_deadline};
use ichor_hal::{Files, Updates};

use super::connections::{Outgoing, Wire};
use super::site::{Accepted, Answer, Event, Site};
use crate::catalog::{Answers, Window};
use crate::http::{
    BodyPlan, Connection, HEAD_LEN, Limits, Method, Plan, Progress, RESPONSE_HEAD_LEN, Timeout,
};
use crate::journal::{Record, Stage};

/// When a peer stops acknowledging, its connection is given up after this.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// For the last packets of a connection to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection after the other on `port`, for ever. Run as many of
/// these as there shall be connections at once.
pub async fn serve<F: Files, J: Record, C: Answers, U: Updates>(
    stack: Stack<'_>,
    port: u16,
    site: &Site<'_, F, J, C, U>,
    wire: &dyn Wire,
    receive: &mut [u8],
) -> ! {
    let mut socket = socket(stack, receive);
    loop {
        let visitor = accept(&mut socket, port, wire).await;
        visitor.serve(site).await;
    }
}

/// A socket to [`accept`] connections with. It never sends data.
pub fn socket<'b>(stack: Stack<'b>, receive: &'b mut [u8]) -> TcpSocket<'b> {
    TcpSocket::new(stack, receive, &mut [])
}

/// Waits for a connection on `port`, with a [`socket`] that may have served
/// others.
///
/// For boards that have a heap: the future of this one is small, and that of
/// [`Visitor::serve`] is needed only while somebody is there.
pub async fn accept<'s, 'b>(
    socket: &'s mut TcpSocket<'b>,
    port: u16,
    wire: &'s dyn Wire,
) -> Visitor<'s, 'b> {
    loop {
        // What is left of the last connection.
        socket.abort();
        socket.set_timeout(Some(ACK_TIMEOUT));
        if socket.accept(port).await.is_ok()
            && let Some(peer) = ipv4(socket.remote_endpoint())
            && let Some(own) = ipv4(socket.local_endpoint())
            && let Some(out) = wire.connections().open(peer, own, wire.mtu())
        {
            // The stack hears little of what the peer says from here on.
            socket.set_timeout(None);
            return Visitor {
                socket,
                peer,
                out,
                wire,
            };
        }
    }
}

fn ipv4(endpoint: Option<IpEndpoint>) -> Option<SocketAddrV4> {
    let endpoint = endpoint?;
    let IpAddress::Ipv4(ip) = endpoint.addr;
    Some(SocketAddrV4::new(ip, endpoint.port))
}

/// An open connection that nothing was read from yet.
pub struct Visitor<'s, 'b> {
    socket: &'s mut TcpSocket<'b>,
    peer: SocketAddrV4,
    out: Outgoing<'s>,
    wire: &'s dyn Wire,
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
            out,
            wire,
        } = self;
        let mut line = Line {
            socket,
            conn: Connection::new(Instant::now(), Limits::DEFAULT),
            peer,
            out,
            wire,
        };
        if line.serve(site).await.is_err() {
            // A reset: the peer must not take what it has for the whole.
            line.socket.abort();
        }
        line.out.end();
        let _ = with_deadline(Instant::now() + FLUSH_TIMEOUT, line.socket.flush()).await;
    }
}

/// The connection is of no use any more: reset it.
#[derive(Debug)]
struct Broken;

/// One connection: the socket receives, and what is sent goes straight out.
struct Line<'s, 'b> {
    socket: &'s mut TcpSocket<'b>,
    conn: Connection<HEAD_LEN>,
    peer: SocketAddrV4,
    out: Outgoing<'s>,
    wire: &'s dyn Wire,
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
                    self.conn.finished(Instant::now());
                }
                Progress::Request(request) => {
                    let answer = site.answer(&request, *self.peer.ip(), &mut out).await;
                    // By reference: what is moved into a future takes room in
                    // it twice, for each connection there can be.
                    match &answer {
                        Ok(answer) => self.send_answer(site, answer, &mut out).await?,
                        Err(_) => return Err(Broken),
                    }
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
                self.out.read(n);
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
        match answer {
            Answer::Text(len) => self.send_bytes(&out[..*len]).await,
            Answer::Page { plan, page } => {
                let body = head(plan, out)?;
                // Of a page in memory.
                let (first, len) = (body.first as usize, body.len as usize);
                let page = &page.as_bytes()[first..first + len];
                let fill = |_: &mut Context<'_>, at, room: &mut [u8]| {
                    let rest = usize::try_from(at).ok().and_then(|at| page.get(at..));
                    let rest = rest.unwrap_or_default();
                    let n = rest.len().min(room.len());
                    room[..n].copy_from_slice(&rest[..n]);
                    Poll::Ready(Ok(n))
                };
                self.send_answered(out, &body, fill, || {}).await
            }
            Answer::File { plan, file, event } => {
                let body = head(plan, out)?;
                let (files, peer, first) = (site.files, self.peer, body.first);
                let fill = |cx: &mut Context<'_>, at, room: &mut [u8]| {
                    let read = files.poll_read_at(cx, file, first + at, room);
                    read.map(|read| match read {
                        Ok(n @ 1..) => Ok(n),
                        // Shorter than it was when its length was told, or
                        // unreadable: both end the connection, never in padding.
                        _ => {
                            warn!(
                                "http: a file changed or failed while {} was reading it",
                                peer
                            );
                            Err(Broken)
                        }
                    })
                };
                self.send_reported(site.journal, event, out, &body, fill)
                    .await
            }
            Answer::Document {
                plan,
                document,
                event,
            } => {
                let body = head(plan, out)?;
                let first = body.first;
                // It is rendered anew for every piece, so that no copy of it is
                // kept. Most are sent in one or two.
                let fill = |_: &mut Context<'_>, at, room: &mut [u8]| {
                    let skip = usize::try_from(first + at).unwrap_or(usize::MAX);
                    let mut window = Window::new(skip, room);
                    // Only the window could fail, and it takes everything.
                    let _ = document.render(&mut window);
                    Poll::Ready(match window.bytes().len() {
                        0 => Err(Broken),
                        n => Ok(n),
                    })
                };
                self.send_reported(site.journal, event, out, &body, fill)
                    .await
            }
        }
    }

    /// Sends a head and a body, and tells the journal when all of it is on its
    /// way: firmware that has what it wants may start it and never say so.
    async fn send_reported(
        &mut self,
        journal: &impl Record,
        event: &Event,
        head: &[u8],
        body: &BodyPlan,
        fill: impl FnMut(&mut Context<'_>, u64, &mut [u8]) -> Poll<Result<usize, Broken>>,
    ) -> Result<(), Broken> {
        let started = Instant::now();
        let mut told = body.len == 0;
        let mut tell = |whole| {
            if !core::mem::replace(&mut told, true) {
                let took = Instant::now().saturating_duration_since(started);
                note(journal, event, whole, body.first, body.len, took);
            }
        };
        let result = self.send_answered(head, body, fill, || tell(true)).await;
        if result.is_err() {
            tell(false);
        }
        result
    }

    async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let head_len = bytes.len();
        let body = BodyPlan {
            head_len,
            first: 0,
            len: 0,
        };
        self.send_answered(bytes, &body, |_, _, _| Poll::Ready(Err(Broken)), || {})
            .await
    }

    /// Sends a head, and the body that `fill` reads from any place in it on.
    async fn send_answered(
        &mut self,
        head: &[u8],
        body: &BodyPlan,
        mut fill: impl FnMut(&mut Context<'_>, u64, &mut [u8]) -> Poll<Result<usize, Broken>>,
        sent: impl FnMut(),
    ) -> Result<(), Broken> {
        let head = &head[..body.head_len];
        let head_len = head.len() as u64;
        let fill = |cx: &mut Context<'_>, at, room: &mut [u8]| {
            let of_head = usize::try_from(at).ok().and_then(|at| head.get(at..));
            let of_head = of_head.unwrap_or_default();
            let n = of_head.len().min(room.len());
            room[..n].copy_from_slice(&of_head[..n]);
            if n == room.len() {
                return Poll::Ready(Ok(n));
            }
            match fill(cx, at + n as u64 - head_len, &mut room[n..]) {
                Poll::Ready(Ok(more)) => Poll::Ready(Ok(n + more)),
                // The head can go without.
                Poll::Pending if n > 0 => Poll::Ready(Ok(n)),
                other => other,
            }
        };
        self.send(head_len + body.len, fill, sent).await
    }

    /// Sends `len` bytes, which `fill` reads from any place on, and again if
    /// they get lost. Calls `sent` when all of them were sent once, perhaps more
    /// than once, and ends when the peer has them; its minimum rate is kept.
    async fn send(
        &mut self,
        len: u64,
        mut fill: impl FnMut(&mut Context<'_>, u64, &mut [u8]) -> Poll<Result<usize, Broken>>,
        mut sent: impl FnMut(),
    ) -> Result<(), Broken> {
        let Self {
            socket,
            conn,
            out,
            wire,
            ..
        } = self;
        let first = out.offer(len);
        let mut acknowledged = first;
        let mut since = Instant::now();
        let mut is_awaited = false;
        poll_fn(|cx| {
            if !core::mem::replace(&mut is_awaited, true) {
                // Woken, too, when the stack sees the connection break. Once, as
                // the stack looks at all its sockets each time it is asked.
                let _ = pin!(socket.wait_read_ready()).poll(cx);
            }
            if !socket.may_send() {
                return Poll::Ready(Err(Broken));
            }
            out.go_on(*wire, cx, |cx, place, room| fill(cx, place - first, room))?;
            if out.sent_to() == first + len {
                sent();
            }
            let now = Instant::now();
            let progress = out.acknowledged_to() - acknowledged;
            if progress > 0 {
                acknowledged += progress;
                since = now;
                conn.progress(now, usize::try_from(progress).unwrap_or(usize::MAX));
            }
            if out.is_done() {
                return Poll::Ready(Ok(()));
            }
            let deadline = conn.deadline().min(since + ACK_TIMEOUT);
            if now >= deadline {
                return Poll::Ready(Err(Broken));
            }
            let wake = out.deadline().map_or(deadline, |at| at.min(deadline));
            if pin!(Timer::at(wake)).poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
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

/// Writes the head of an answer; what its body is.
fn head(plan: &Plan, out: &mut [u8; RESPONSE_HEAD_LEN]) -> Result<BodyPlan, Broken> {
    plan.write_head(out).map_err(|_| Broken)
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
