//! How the board is: what `GET /status` shows, and what it is told from.

use core::cell::{Cell, RefCell};
use core::fmt::{self, Write};
use core::net::Ipv4Addr;

use embassy_time::Instant;
use heapless::{String, Vec};

use crate::catalog::{Problem, REASON_LEN, Severity, Summary};
use crate::cut::cut;
use crate::http::Request;
use crate::update::{NONCE_LIFE, Service, State};

/// Longest page in bytes.
const PAGE_LEN: usize = 3072;

/// A text about the board as it was when it was asked for.
pub(crate) type Page = String<PAGE_LEN>;

/// Parts of a board that can be in trouble at the same time.
const PARTS: usize = 8;

/// Longest text on a trouble in bytes; the rest is cut off.
pub const TROUBLE_LEN: usize = 120;

/// Problems of the catalog that are shown; the others are counted.
const PROBLEMS: usize = 4;

/// Longest path of a problem that is kept.
const PATH_LEN: usize = 64;

/// Who the board is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its kind: `cm3`, `bastion`.
    pub board: &'static str,
    /// The version of its program.
    pub version: &'static str,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            board: "unknown",
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// What a board and its servers tell of themselves, for `/status`.
///
/// Lives in a `static`; whoever knows something keeps a reference.
#[derive(Debug)]
pub struct Health {
    identity: Identity,
    address: Cell<Option<Ipv4Addr>>,
    leases: Cell<Option<usize>>,
    troubles: RefCell<Vec<Trouble, PARTS>>,
    catalog: RefCell<CatalogHealth>,
}

#[derive(Debug)]
struct Trouble {
    part: &'static str,
    text: String<TROUBLE_LEN>,
}

#[derive(Debug)]
struct CatalogHealth {
    /// None while the folder is being read.
    summary: Option<Summary>,
    first: Vec<Kept, PROBLEMS>,
}

#[derive(Debug)]
struct Kept {
    severity: Severity,
    path: String<PATH_LEN>,
    line: u32,
    reason: String<REASON_LEN>,
}

impl Kept {
    fn problem(&self) -> Problem<'_> {
        Problem {
            severity: self.severity,
            path: &self.path,
            line: self.line,
            reason: &self.reason,
        }
    }
}

impl Health {
    /// A board of which nothing is known yet.
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            address: Cell::new(None),
            leases: Cell::new(None),
            troubles: RefCell::new(Vec::new()),
            catalog: RefCell::new(CatalogHealth {
                summary: None,
                first: Vec::new(),
            }),
        }
    }

    /// Who the board is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The stack's address.
    pub fn set_address(&self, address: Ipv4Addr) {
        self.address.set(Some(address));
    }

    /// How many leases are in use. Never called: DHCP is off.
    pub fn set_leases(&self, leases: usize) {
        self.leases.set(Some(leases));
    }

    /// A part of the board is in trouble: what is wrong, and what follows from
    /// it for the operator. Takes the place of what was told of that part
    /// before.
    ///
    /// ```text
    /// health.trouble("card", format_args!("missing: leases are lost at power-off"));
    /// ```
    pub fn trouble(&self, part: &'static str, text: fmt::Arguments<'_>) {
        let text = cut(text);
        let mut troubles = self.troubles.borrow_mut();
        if let Some(known) = troubles.iter_mut().find(|trouble| trouble.part == part) {
            known.text = text;
        } else if troubles.push(Trouble { part, text }).is_err() {
            warn!("status: no room for the trouble with {}", part);
        }
    }

    /// That part is well again.
    pub fn well(&self, part: &'static str) {
        let mut troubles = self.troubles.borrow_mut();
        troubles.retain(|trouble| trouble.part != part);
    }

    /// The catalog is about to be read anew.
    pub fn catalog_loading(&self) {
        let mut catalog = self.catalog.borrow_mut();
        catalog.summary = None;
        catalog.first.clear();
    }

    /// Something is wrong in the catalog. Errors are shown rather than
    /// warnings.
    pub fn catalog_problem(&self, problem: &Problem<'_>) {
        let first = &mut self.catalog.borrow_mut().first;
        if first.is_full() && problem.severity == Severity::Error {
            let warning = |kept: &Kept| kept.severity == Severity::Warning;
            if let Some(index) = first.iter().rposition(warning) {
                first.remove(index);
            }
        }
        // What does not fit is in the count alone.
        let _ = first.push(Kept {
            severity: problem.severity,
            path: cut(format_args!("{}", problem.path)),
            line: problem.line,
            reason: cut(format_args!("{}", problem.reason)),
        });
    }

    /// The catalog was read.
    pub fn catalog_loaded(&self, summary: Summary) {
        self.catalog.borrow_mut().summary = Some(summary);
    }

    /// Writes the status. `updates` is none where there are no updates.
    pub(crate) fn page(&self, format: Format, now: Instant, updates: Option<State>) -> Page {
        match format {
            Format::Text => self.text(now, updates),
            Format::Json => self.json(now, updates),
        }
    }

    fn text(&self, now: Instant, updates: Option<State>) -> Page {
        let mut page = Filling::new();
        let Identity { board, version } = self.identity;
        let uptime = Uptime(now.as_secs());
        page.add(format_args!("ichor {version} on {board}, up {uptime}\n"));
        match self.address.get() {
            Some(address) => page.add(format_args!("address: {address}\n")),
            None => page.add(format_args!("address: none yet\n")),
        };
        match self.leases.get() {
            Some(leases) => page.add(format_args!("leases in use: {leases}\n")),
            None => page.add(format_args!("leases in use: none, DHCP is off\n")),
        };
        if let Some(state) = updates {
            page.add(format_args!("updates: {state}\n"));
        }
        let troubles = self.troubles.borrow();
        page.add(format_args!("troubles: {}\n", troubles.len()));
        page.add_list(
            "",
            troubles.iter().map(|Trouble { part, text }| {
                fmt::from_fn(move |f| writeln!(f, "  {part}: {}", OneLine(text)))
            }),
        );
        let catalog = self.catalog.borrow();
        match catalog.summary {
            Some(summary) => page.add(format_args!("catalog: {summary}\n")),
            None => page.add(format_args!("catalog: being read\n")),
        };
        page.add_list(
            "",
            catalog.first.iter().map(|kept| {
                let (severity, problem) = (severity(kept.severity), kept.problem());
                fmt::from_fn(move |f| writeln!(f, "  {severity}: {}", OneLine(problem)))
            }),
        );
        if let Some(more) = catalog.not_shown() {
            page.add(format_args!("  and {more} more, see the log\n"));
        }
        page.0
    }

    fn json(&self, now: Instant, updates: Option<State>) -> Page {
        let mut page = Filling::new();
        let Identity { board, version } = self.identity;
        page.add(format_args!(
            r#"{{"board":{},"version":{},"uptime_seconds":{}"#,
            Quoted(board),
            Quoted(version),
            now.as_secs()
        ));
        page.add(format_args!(
            r#","address":{},"leases":{},"updates":{}"#,
            OrNull(self.address.get().map(Quoted)),
            OrNull(self.leases.get()),
            OrNull(updates.map(Quoted)),
        ));
        let troubles = self.troubles.borrow();
        page.add(format_args!(r#","troubles":["#));
        page.add_list(
            ",",
            troubles.iter().map(|Trouble { part, text }| {
                fmt::from_fn(move |f| {
                    let (part, text) = (Quoted(part), Quoted(text));
                    write!(f, r#"{{"part":{part},"text":{text}}}"#)
                })
            }),
        );
        let catalog = self.catalog.borrow();
        page.add(format_args!(r#"],"catalog":{{"#));
        if let Some(summary) = catalog.summary {
            let Summary {
                groups,
                profiles,
                templates,
                errors,
                warnings,
                ..
            } = summary;
            page.add(format_args!(
                r#""groups":{groups},"profiles":{profiles},"templates":{templates},"#
            ));
            page.add(format_args!(r#""errors":{errors},"warnings":{warnings},"#));
        }
        page.add(format_args!(r#""problems":["#));
        page.add_list(",", catalog.first.iter().map(|kept| {
            fmt::from_fn(move |f| {
                let (severity, line) = (severity(kept.severity), kept.line);
                let (path, reason) = (Quoted(&kept.path), Quoted(&kept.reason));
                write!(
                    f,
                    r#"{{"severity":"{severity}","path":{path},"line":{line},"reason":{reason}}}"#
                )
            })
        }));
        page.add(format_args!("]}}}}\n"));
        page.0
    }
}

impl CatalogHealth {
    /// How many problems were counted and not kept.
    fn not_shown(&self) -> Option<usize> {
        let summary = self.summary?;
        let more = (summary.errors + summary.warnings).checked_sub(self.first.len())?;
        (more > 0).then_some(more)
    }
}

/// What `GET /update` answers.
pub(crate) fn update_page<U>(identity: Identity, service: &Service<U>, now: Instant) -> Page {
    let mut page = Filling::new();
    let Identity { board, version } = identity;
    let run = u32::from_be_bytes(service.run());
    page.add(format_args!(
        r#"{{"board":{},"version":{},"run":"{run:08x}""#,
        Quoted(board),
        Quoted(version)
    ));
    page.add(format_args!(
        r#","nonce":{},"nonce_seconds":{},"state":{}"#,
        OrNull(service.nonce(now).map(Quoted)),
        NONCE_LIFE.as_secs(),
        Quoted(service.state())
    ));
    page.add(format_args!("}}\n"));
    page.0
}

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: `?format=json`.
    Json,
}

impl Format {
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let json = |parameter: crate::http::Parameter<'_>| {
            parameter.name.is("format") && parameter.value.is("json")
        };
        if request.query().any(json) {
            Self::Json
        } else {
            Self::Text
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Room in a page that is kept for what must follow a list.
const KEPT: usize = 256;

/// A page that is being written: of a list, items that do not fit are left
/// out.
struct Filling(Page);

impl Filling {
    const fn new() -> Self {
        Self(String::new())
    }

    /// Adds a piece, or nothing if it does not fit.
    fn add(&mut self, piece: fmt::Arguments<'_>) {
        self.add_within(PAGE_LEN, piece);
    }

    fn add_within(&mut self, limit: usize, piece: fmt::Arguments<'_>) -> bool {
        let before = self.0.len();
        let fits = self.0.write_fmt(piece).is_ok() && self.0.len() <= limit;
        if !fits {
            self.0.truncate(before);
        }
        fits
    }

    /// Adds as many items as leave room for what follows.
    fn add_list(&mut self, separator: &str, items: impl Iterator<Item = impl fmt::Display>) {
        let mut before = "";
        for item in items {
            if self.add_within(PAGE_LEN - KEPT, format_args!("{before}{item}")) {
                before = separator;
            }
        }
    }
}

/// A JSON string (RFC 8259 §7).
struct Quoted<T>(T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    '"' | '\\' => write!(self.0, "\\{c}"),
                    '\0'..' ' => write!(self.0, "\\u{:04x}", u32::from(c)),
                    _ => self.0.write_char(c),
                })
            }
        }
        f.write_char('"')?;
        write!(Escaping(f), "{}", self.0)?;
        f.write_char('"')
    }
}

/// A value, or `null`.
struct OrNull<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrNull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// Text with spaces for control characters: it shall not begin a line.
struct OneLine<T>(T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Spacing<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl Write for Spacing<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let spaced = |c: char| if c.is_control() { ' ' } else { c };
                text.chars().try_for_each(|c| self.0.write_char(spaced(c)))
            }
        }
        write!(Spacing(f), "{}", self.0)
    }
}

/// Seconds as `3 d 04:05:06`.
struct Uptime(u64);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        if days > 0 {
            write!(f, "{days} d ")?;
        }
        write!(
            f,
            "{:02}:{:02}:{:02}",
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        )
    }
}

#[cfg(test)]
mod tests;
