//! A request's body on its way from the socket to the board.

use embassy_time::{Instant, with_deadline};
use heapless::String;
use ichor_hal::{UpdateError, Updates};

use super::{Broken, FLUSH_TIMEOUT, Line};
use crate::cut::cut;
use crate::http::{CONTINUE, RESPONSE_HEAD_LEN, Refusal, Status, write_text};
use crate::journal::{DETAIL_LEN, Record, Stage};
use crate::net::site::Site;
use crate::update::{self, Upload};

impl Line<'_, '_> {
    /// Reads an update that was accepted, has it put in its place and tells
    /// the sender what became of it.
    pub(super) async fn receive_upload<F, J: Record, C, U: Updates>(
        &mut self,
        site: &Site<'_, F, J, C, U>,
        mut upload: Upload<'_, U>,
        expects_continue: bool,
        out: &mut [u8; RESPONSE_HEAD_LEN],
    ) -> Result<(), Broken> {
        let started = Instant::now();
        let peer = *self.peer.ip();
        let (firmware, len) = (upload.is_firmware(), upload.len());
        let name: String<DETAIL_LEN> = cut(format_args!("{}", upload.name()));

        let received = self.receive_body(&mut upload, expects_continue).await;
        let outcome = match received {
            Ok(Ok(())) => upload.finish().await,
            Ok(Err(error)) => Err(update::refusal_of(error)),
            Err(Broken) => {
                upload.abort().await;
                let detail = format_args!("{name}: the update broke off, nothing was changed");
                let now = Instant::now();
                site.journal.record(now, peer.into(), Stage::Failed, detail);
                return Err(Broken);
            }
        };
        let now = Instant::now();
        self.conn.answer_begins(now);
        let framing = self.conn.framing();
        let written = match outcome {
            Ok(()) => {
                let ms = now.saturating_duration_since(started).as_millis();
                let detail = format_args!("{name} ({len} bytes in {ms} ms)");
                site.journal.record(now, peer.into(), Stage::Update, detail);
                let then = if firmware { ", restarting" } else { "" };
                let text = format_args!("replaced{then}\n{name}, {len} bytes\n");
                write_text(out, Status::Ok, framing, text)
            }
            Err(Refusal {
                status,
                headline,
                advice,
            }) => {
                let text = format_args!("{headline}\n{advice}\n");
                site.refusal((&name, framing), peer, status, text, out)
            }
        };
        let len = written.map_err(|_| Broken)?;
        let answer = self.send_bytes(&out[..len]);
        if !firmware || outcome.is_err() {
            return answer.await;
        }
        // Whether or not the sender is still there to hear it.
        let sent = with_deadline(now + FLUSH_TIMEOUT, answer).await;
        if let Some(service) = site.updates {
            service.ready_to_restart();
        }
        sent.unwrap_or(Err(Broken))
    }

    /// Gives all of a body to the update. The inner error is the board's.
    async fn receive_body<U: Updates>(
        &mut self,
        upload: &mut Upload<'_, U>,
        expects_continue: bool,
    ) -> Result<Result<(), UpdateError>, Broken> {
        if expects_continue {
            self.send_bytes(CONTINUE).await?;
        }
        loop {
            let room = upload.room();
            if room.is_empty() {
                return Ok(Ok(()));
            }
            let n = match self.conn.take_body(room, Instant::now()) {
                0 => {
                    let read = with_deadline(self.conn.deadline(), self.socket.read(room));
                    // Too slow, reset, or ended before its end.
                    let Ok(Ok(n @ 1..)) = read.await else {
                        return Err(Broken);
                    };
                    self.out.read(n);
                    self.conn.body_received(n, Instant::now());
                    n
                }
                n => n,
            };
            if let Err(error) = upload.took(n).await {
                return Ok(Err(error));
            }
        }
    }
}
