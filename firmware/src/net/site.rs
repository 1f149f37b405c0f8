//! What a path stands for: files under `assets/`, what the catalog says of a
//! machine, how the board is, and updates of it.

use core::cell::{Ref, RefCell};
use core::fmt;
use core::net::Ipv4Addr;

use embassy_time::Instant;
use heapless::String;
use ichor_hal::{FileError, Files, NoUpdates, Updates};

use super::shelf::Shelf;
use super::status::{self, Format, Health, Page};
use crate::catalog::{Answers, Endpoint, Labels, Role};
use crate::cut::cut;
use crate::fnv::Fnv1a;
use crate::http::{
    ETag, Entity, Framing, HEAD_LEN, METHOD, Plan, Refusal, Request, Status, TooLong, content_type,
    respond, write_text,
};
use crate::journal::{DETAIL_LEN, Record, Stage, Who};
use crate::tftp::stage_of;
use crate::update::{Denied, NO_UPDATES, Service, Upload, is_private};
use crate::{MacAddr, Throttle};

/// Longest key or value of a query, decoded.
const LABEL_LEN: usize = 256;

const NO_SUCH_PATH: Refusal = Refusal::new(
    Status::NotFound,
    "no such path on this server",
    "Known: /boot.ipxe /ipxe /grub /ignition /cloud /generic /metadata /assets/FILE \
     /status /update",
);
const BUSY: Refusal = Refusal::new(
    Status::ServiceUnavailable,
    "too many files open, try again",
    "The server has no place for another open file just now.",
);
const UNREADABLE: Refusal = Refusal::new(
    Status::InternalServerError,
    "the file cannot be read",
    "The server's disk or card reports an error; its log says more.",
);
const FORBIDDEN: Refusal = Refusal::new(
    Status::Forbidden,
    "the server may not read it",
    "Permissions forbid it: make the file in the data folder readable.",
);
const ODD_QUERY: Refusal = Refusal::new(
    Status::BadRequest,
    "query too long or badly encoded",
    "A machine is described by a few short labels such as mac=52-54-00-12-34-56.",
);

/// What all connections share: the data folder, the journal of who got what,
/// the catalog of who boots what, and what the board lets be seen and changed
/// of itself.
pub struct Site<'a, F, J, C, U = NoUpdates> {
    pub(super) files: &'a F,
    pub(super) journal: &'a J,
    catalogs: &'a Shelf<C>,
    health: Option<&'a Health>,
    pub(super) updates: Option<&'a Service<U>>,
    malformed: RefCell<Throttle>,
}

impl<'a, F, J, C> Site<'a, F, J, C> {
    /// A site without connections, status and updates.
    pub fn new(files: &'a F, journal: &'a J, catalogs: &'a Shelf<C>) -> Self {
        Self {
            files,
            journal,
            catalogs,
            health: None,
            updates: None,
            malformed: RefCell::default(),
        }
    }
}

impl<'a, F, J, C, U> Site<'a, F, J, C, U> {
    /// Shows how the board is at `/status`.
    pub fn with_health(self, health: &'a Health) -> Self {
        Self {
            health: Some(health),
            ..self
        }
    }

    /// Takes updates at `/update`.
    pub fn with_updates<V>(self, updates: &'a Service<V>) -> Site<'a, F, J, C, V> {
        Site {
            files: self.files,
            journal: self.journal,
            catalogs: self.catalogs,
            health: self.health,
            updates: Some(updates),
            malformed: self.malformed,
        }
    }

    /// How many requests were no HTTP, or asked for what no path can mean.
    pub fn malformed(&self) -> u64 {
        self.malformed.borrow().total()
    }

    /// Counts a request that could not even be read.
    pub(super) fn note_malformed(&self, peer: Ipv4Addr, refusal: &Refusal) {
        if let Some(missed) = self.malformed.borrow_mut().count(Instant::now()) {
            let (code, headline) = (refusal.status.code(), refusal.headline);
            warn!(
                "http: {} was answered {}: {}{}",
                peer, code, headline, missed
            );
        }
    }
}

/// How a request is answered.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once per request, and there is no heap to box it on"
)]
pub(super) enum Answer<'c, F, C> {
    /// With a range of a file.
    File { plan: Plan, file: F, event: Event },
    /// With text that the catalog writes.
    Document {
        plan: Plan,
        document: Document<'c, C>,
        event: Event,
    },
    /// With a text about the board, as it was at this moment.
    Page { plan: Plan, page: Page },
    /// With a whole response that was written into the caller's buffer.
    Text(usize),
}

/// What becomes of a request to replace something.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once per request, and there is no heap to box it on"
)]
pub(super) enum Accepted<'s, U> {
    /// Its body is to be read.
    Upload(Upload<'s, U>),
    /// A whole response was written into the caller's buffer.
    Refused(usize),
}

/// What the journal is told once the last byte has left.
pub(super) struct Event {
    pub(super) who: Who,
    /// None for what is not worth an entry.
    pub(super) stage: Option<Stage>,
    pub(super) detail: String<DETAIL_LEN>,
    /// Length of the whole in bytes.
    pub(super) end: u64,
}

/// Everything that a text of the catalog depends on. The catalog stays as it
/// is for as long as this is held.
pub(super) struct Document<'c, C> {
    catalog: Ref<'c, C>,
    endpoint: Endpoint,
    labels: Labels,
    raw_query: String<HEAD_LEN>,
}

impl<C: Answers> Document<'_, C> {
    /// Writes the text; the same every time.
    pub(super) fn render(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match self
            .catalog
            .answer(self.endpoint, &self.labels, &self.raw_query)
        {
            Ok(answer) => answer.render(out),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl<F: Files, J: Record, C: Answers, U> Site<'_, F, J, C, U> {
    /// Finds what a request asks for. Short answers are written into `out`
    /// as a whole; an error means that they did not fit.
    pub(super) async fn answer(
        &self,
        request: &Request<'_>,
        peer: Ipv4Addr,
        out: &mut [u8],
    ) -> Result<Answer<'_, F::File, C>, TooLong> {
        if request.path == "/" {
            // What matchbox answers, for scripts that look for it.
            let text = format_args!("matchbox\n");
            return write_text(out, Status::Ok, request.framing, text).map(Answer::Text);
        }
        if let Some(endpoint) = Endpoint::from_path(request.path) {
            return self.document(request, endpoint, peer, out);
        }
        match request.path {
            "/status" => return self.status(request, peer, out),
            "/update" => return self.update(request, peer, out),
            _ => {}
        }
        match request.path.strip_prefix('/') {
            Some(path) if is_private(path) => self.refuse(request, peer, NO_SUCH_PATH, out),
            Some(path) if path.starts_with("assets/") => self.asset(request, path, peer, out).await,
            _ => self.refuse(request, peer, NO_SUCH_PATH, out),
        }
    }

    /// How the board is.
    fn status(
        &self,
        request: &Request<'_>,
        peer: Ipv4Addr,
        out: &mut [u8],
    ) -> Result<Answer<'_, F::File, C>, TooLong> {
        let Some(health) = self.health else {
            return self.refuse(request, peer, NO_SUCH_PATH, out);
        };
        let format = Format::of(request);
        let updates = self.updates.map(Service::state);
        Ok(page(
            request,
            format,
            health.page(format, Instant::now(), updates),
        ))
    }

    /// Who the board is, and a nonce to sign an update with.
    fn update(
        &self,
        request: &Request<'_>,
        peer: Ipv4Addr,
        out: &mut [u8],
    ) -> Result<Answer<'_, F::File, C>, TooLong> {
        let Some(service) = self.updates else {
            return self.refuse(request, peer, NO_UPDATES, out);
        };
        let identity = self.health.map(Health::identity).unwrap_or_default();
        let told = status::update_page(identity, service, Instant::now());
        Ok(page(request, Format::Json, told))
    }

    async fn asset(
        &self,
        request: &Request<'_>,
        path: &str,
        peer: Ipv4Addr,
        out: &mut [u8],
    ) -> Result<Answer<'_, F::File, C>, TooLong> {
        let (file, metadata) = match self.files.open(path).await {
            Ok(opened) => opened,
            Err(error) => {
                let refusal = match error {
                    FileError::Busy => BUSY,
                    FileError::Denied => FORBIDDEN,
                    FileError::NotFound => {
                        let text = format_args!("no {path}\nPut it into the data folder.\n");
                        return self.refuse_with(request, peer, Status::NotFound, text, out);
                    }
                    _ => UNREADABLE,
                };
                return self.refuse(request, peer, refusal, out);
            }
        };
        let etag = Some(ETag::new(metadata.version));
        let entity = Entity {
            len: metadata.len,
            etag,
            content_type: content_type(path),
        };
        let stage = match self.catalogs.current().role_of(path) {
            Some(Role::Kernel) => Stage::Kernel,
            Some(Role::Initrd) => Stage::Initrd,
            None => stage_of(path),
        };
        Ok(Answer::File {
            plan: respond(request, entity),
            file,
            event: Event {
                who: peer.into(),
                stage: Some(stage),
                detail: cut(format_args!("{path}")),
                end: metadata.len,
            },
        })
    }

    fn document(
        &self,
        request: &Request<'_>,
        endpoint: Endpoint,
        peer: Ipv4Addr,
        out: &mut [u8],
    ) -> Result<Answer<'_, F::File, C>, TooLong> {
        let Some((labels, raw_query)) = labels_of(request) else {
            return self.refuse(request, peer, ODD_QUERY, out);
        };
        let who = self.who(&labels, peer);
        let document = Document {
            catalog: self.catalogs.current(),
            endpoint,
            labels,
            raw_query,
        };
        let found = document
            .catalog
            .answer(endpoint, &document.labels, &document.raw_query);
        let (entity, detail) = match found {
            Ok(answer) => {
                let mut hash = Fnv1a::new();
                // The sink takes everything.
                let _ = answer.render(&mut hash);
                let (len, content_type) = (answer.len() as u64, answer.content_type());
                let entity = Entity {
                    len,
                    etag: Some(ETag::new(hash.finish())),
                    content_type,
                };
                let by = answer.group().unwrap_or_default();
                (entity, cut(format_args!("{} by {by}", request.path)))
            }
            Err(refusal) => {
                let text = format_args!("{refusal}\n");
                return self.refuse_with(request, who, Status::NotFound, text, out);
            }
        };
        let stage = match endpoint {
            // Everyone gets the same: it says nothing of the machine.
            Endpoint::BootIpxe => None,
            Endpoint::Ipxe | Endpoint::Grub => Some(Stage::Script),
            _ => Some(Stage::Config),
        };
        let event = Event {
            who,
            stage,
            detail,
            end: entity.len,
        };
        Ok(Answer::Document {
            plan: respond(request, entity),
            document,
            event,
        })
    }

    /// The machine that asks: by what it says of itself, else by its address.
    fn who(&self, labels: &Labels, peer: Ipv4Addr) -> Who {
        let said = labels
            .get("mac")
            .and_then(|mac| mac.parse::<MacAddr>().ok());
        let mac = said.or_else(|| self.journal.mac_of(peer));
        if let Some(mac) = said {
            self.journal.learn(peer, mac);
        }
        Who {
            mac,
            ip: Some(peer),
        }
    }

    fn refuse<A>(
        &self,
        request: &Request<'_>,
        who: impl Into<Who>,
        refusal: Refusal,
        out: &mut [u8],
    ) -> Result<Answer<'_, F::File, A>, TooLong> {
        let Refusal {
            status,
            headline,
            advice,
        } = refusal;
        let text = format_args!("{headline}\n{advice}\n");
        self.refuse_with(request, who, status, text, out)
    }

    fn refuse_with<A>(
        &self,
        request: &Request<'_>,
        who: impl Into<Who>,
        status: Status,
        text: fmt::Arguments<'_>,
        out: &mut [u8],
    ) -> Result<Answer<'_, F::File, A>, TooLong> {
        let told = (request.path, request.framing);
        self.refusal(told, who, status, text, out).map(Answer::Text)
    }
}

impl<F, J: Record, C, U> Site<'_, F, J, C, U> {
    /// Notes that nothing is had of a path, and writes the response that says
    /// why. Returns its length.
    pub(super) fn refusal(
        &self,
        (path, framing): (&str, Framing),
        who: impl Into<Who>,
        status: Status,
        text: fmt::Arguments<'_>,
        out: &mut [u8],
    ) -> Result<usize, TooLong> {
        let detail = format_args!("{path}: {text}");
        self.journal
            .record(Instant::now(), who.into(), Stage::Refused, detail);
        write_text(out, status, framing, text)
    }
}

impl<F, J: Record, C, U: Updates> Site<'_, F, J, C, U> {
    /// Looks whether a PUT may replace what it names. A response that says why
    /// not is written into `out`.
    pub(super) async fn accept(
        &self,
        request: &Request<'_>,
        peer: Ipv4Addr,
        out: &mut [u8],
    ) -> Result<Accepted<'_, U>, TooLong> {
        let denied = match self.updates {
            _ if !is_update(request.path) => METHOD.into(),
            None => NO_UPDATES.into(),
            Some(service) => match service.accept(request, Instant::now()).await {
                Ok(upload) => return Ok(Accepted::Upload(upload)),
                Err(denied) => denied,
            },
        };
        let told = (request.path, request.framing);
        let len = match denied {
            Denied::For(Refusal {
                status,
                headline,
                advice,
            }) => {
                let text = format_args!("{headline}\n{advice}\n");
                self.refusal(told, peer, status, text, out)
            }
            Denied::NoKey(error) => {
                let text = format_args!("this board has no key\n{error}\n");
                self.refusal(told, peer, Status::Forbidden, text, out)
            }
        };
        len.map(Accepted::Refused)
    }
}

/// Whether a path is about updates.
fn is_update(path: &str) -> bool {
    path == "/update" || path.starts_with("/update/")
}

fn page<'c, F, C>(request: &Request<'_>, format: Format, page: Page) -> Answer<'c, F, C> {
    let entity = Entity {
        len: page.len() as u64,
        etag: None,
        content_type: format.content_type(),
    };
    Answer::Page {
        plan: respond(request, entity),
        page,
    }
}

/// The labels in a query, and the query itself for templates. `None` if they
/// are too long. A parameter that cannot be decoded is dropped, as matchbox
/// does.
fn labels_of(request: &Request<'_>) -> Option<(Labels, String<HEAD_LEN>)> {
    let mut labels = Labels::new();
    for parameter in request.query() {
        let (mut key, mut value) = ([0; LABEL_LEN], [0; LABEL_LEN]);
        let (Ok(key), Ok(value)) = (
            parameter.name.decode(&mut key),
            parameter.value.decode(&mut value),
        ) else {
            continue;
        };
        labels.insert(key, value).ok()?;
    }
    Some((labels, String::try_from(request.raw_query).ok()?))
}
