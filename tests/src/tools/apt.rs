//! apt with a private root: its own sources, lists and cache, and no effect on the system.
//!
//! apt checks the repositories' signatures and the packages' checksums against
//! them; this module only tells it where to work. The system's apt.conf stays in
//! force (proxies), save for what would reach outside the private root.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::manifest::Deb;
use super::sources::{self, Source};

/// Package lists younger than this are used as they are.
const LISTS_FRESH_FOR: Duration = Duration::from_secs(3600);
/// Where Debian is to be had from on a machine whose own mirror has none.
const DEBIAN_MIRROR: &str = "ICHOR_DEBIAN_MIRROR";

/// The running distribution, as far as apt matters.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    is_ubuntu: bool,
    codename: String,
    architecture: String,
}

impl Distribution {
    /// The Debian or Ubuntu (or derivative) this runs on; `None` elsewhere.
    pub(super) fn detect() -> Option<Self> {
        let os_release = fs::read_to_string("/etc/os-release").ok()?;
        let (is_ubuntu, codename) = parse_os_release(&os_release)?;
        run(Command::new("dpkg-deb").arg("--version")).ok()?;
        run(Command::new("apt-get").arg("--version")).ok()?;
        let output = run(Command::new("dpkg").arg("--print-architecture")).ok()?;
        let architecture = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        Some(Self {
            is_ubuntu,
            codename,
            architecture,
        })
    }

    /// Release and architecture, as a manifest records them.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.codename, self.architecture)
    }

    /// The same release for arm64.
    pub(super) fn on_arm64(&self) -> Self {
        Self {
            architecture: "arm64".to_owned(),
            ..self.clone()
        }
    }
}

/// Whether it is Ubuntu or Debian, and the codename of the release underneath.
fn parse_os_release(text: &str) -> Option<(bool, String)> {
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
    };
    let ids = format!("{} {}", field("ID")?, field("ID_LIKE").unwrap_or_default());
    let is = |name| ids.split_whitespace().any(|id| id == name);
    // Derivatives name the release they are made from beside their own.
    if is("ubuntu") {
        Some((
            true,
            field("UBUNTU_CODENAME").or_else(|| field("VERSION_CODENAME"))?,
        ))
    } else if is("debian") {
        Some((
            false,
            field("DEBIAN_CODENAME").or_else(|| field("VERSION_CODENAME"))?,
        ))
    } else {
        None
    }
}

/// One private apt root.
pub(super) struct Apt {
    /// Holds `apt.conf`, `sources.d/`, `state/` and `cache/`.
    root: PathBuf,
}

impl Apt {
    /// For packages to run here: the machine's release, architecture and
    /// mirrors, knowing which packages the machine has.
    pub(super) fn for_machine(root: PathBuf, distribution: &Distribution) -> Result<Self> {
        let status = fs::read("/var/lib/dpkg/status")
            .context("cannot read /var/lib/dpkg/status, the list of installed packages")?;
        let sources = machine_sources(distribution)?;
        Self::create(root, &sources, &distribution.architecture, &status)
    }

    /// For packages of the machine's release and mirrors, as if none were
    /// installed.
    pub(super) fn for_release(root: PathBuf, distribution: &Distribution) -> Result<Self> {
        let sources = machine_sources(distribution)?;
        Self::create(root, &sources, &distribution.architecture, b"")
    }

    /// For arm64 packages of a Debian release, not to be run here.
    pub(super) fn for_debian_arm64(
        root: &Path,
        distribution: &Distribution,
        release: &str,
    ) -> Result<Self> {
        if let Some(keyring) = debian_keyring_in(Path::new("/")) {
            let apt = Self::debian_arm64(root, distribution, release, &keyring)?;
            match apt.update(false) {
                Err(error) if format!("{error:#}").contains("NO_PUBKEY") => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(apt),
            }
        }
        // Ubuntu has Debian's keyring as a package, and an old Debian a newer one.
        let keyring = Self::fetch_debian_keyring(root, distribution)
            .with_context(|| format!("no key to check Debian {release} with"))?;
        let apt = Self::debian_arm64(root, distribution, release, &keyring)?;
        apt.update(false).map(|()| apt)
    }

    /// Gets the package `debian-archive-keyring` of the machine's own
    /// distribution and returns the keyring in it.
    fn fetch_debian_keyring(beside: &Path, distribution: &Distribution) -> Result<PathBuf> {
        let machine = Self::for_machine(beside.with_extension("machine"), distribution)?;
        machine.update(false)?;
        let folder = beside.with_extension("keys");
        let debs = machine.resolve_exact(&["debian-archive-keyring"])?;
        let debs: Vec<&Deb> = debs.iter().collect();
        machine.download(&debs, &folder)?;
        for deb in debs {
            unpack(&folder.join(deb.file_name()), &folder)?;
        }
        debian_keyring_in(&folder).context("package debian-archive-keyring holds no keyring")
    }

    fn debian_arm64(
        root: &Path,
        distribution: &Distribution,
        release: &str,
        keyring: &Path,
    ) -> Result<Self> {
        // A Debian machine's mirror has the other releases too.
        let uris = if distribution.is_ubuntu {
            let mirror = std::env::var(DEBIAN_MIRROR).with_context(|| {
                format!("Ubuntu has no arm64 iPXE: set {DEBIAN_MIRROR} to a Debian mirror's URL")
            })?;
            vec![mirror]
        } else {
            machine_sources(distribution)?
                .into_iter()
                .find(|source| source.suites.contains(&distribution.codename))
                .with_context(|| no_sources(distribution))?
                .uris
        };
        let source = Source {
            uris,
            suites: vec![release.to_owned()],
            // The second for what a Raspberry Pi runs before us.
            components: vec!["main".to_owned(), "non-free-firmware".to_owned()],
            trust: Vec::new(),
        };
        let apt = Self::create(root.to_owned(), &[source], "arm64", b"")?;
        // Not `Signed-By`: that takes no path with a space.
        let trusted = root.join("trusted.d");
        fs::create_dir_all(&trusted)
            .and_then(|()| fs::copy(keyring, trusted.join("debian.gpg")).map(drop))
            .with_context(|| format!("cannot copy {}", keyring.display()))?;
        let trust = format!(
            "Dir::Etc::trusted \"/dev/null\";\nDir::Etc::trustedparts \"{}\";\n",
            trusted.display()
        );
        let configuration = configuration(root, "arm64") + &trust;
        apt.write("apt.conf", configuration.as_bytes())?;
        Ok(apt)
    }

    fn create(
        root: PathBuf,
        sources: &[Source],
        architecture: &str,
        status: &[u8],
    ) -> Result<Self> {
        for folder in [
            "sources.d",
            "preferences.d",
            "state/lists/partial",
            "cache/archives/partial",
        ] {
            fs::create_dir_all(root.join(folder))
                .with_context(|| format!("cannot create {}/{folder}", root.display()))?;
        }
        let apt = Self { root };
        let sources: Vec<String> = sources.iter().map(Source::to_deb822).collect();
        apt.write("sources.d/lab.sources", sources.join("\n").as_bytes())?;
        apt.write("state/status", status)?;
        apt.write(
            "apt.conf",
            configuration(&apt.root, architecture).as_bytes(),
        )?;
        Ok(apt)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.root.join("apt.conf"));
        command
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Fetches the package lists, unless they are fresh and `force` is not set.
    pub(super) fn update(&self, force: bool) -> Result<()> {
        let stamp = self.root.join("lists-fetched");
        let sources = fs::read(self.root.join("sources.d/lab.sources")).unwrap_or_default();
        let age = fs::metadata(&stamp)
            .and_then(|data| data.modified())
            .ok()
            .and_then(|modified| SystemTime::now().duration_since(modified).ok());
        let same_sources = fs::read(&stamp).is_ok_and(|fetched| fetched == sources);
        if !force && same_sources && age.is_some_and(|age| age < LISTS_FRESH_FOR) {
            return Ok(());
        }
        let mut command = self.command("apt-get");
        // Without this a list that cannot be fetched is a mere warning.
        command.args(["-o", "APT::Update::Error-Mode=any", "update"]);
        run(&mut command).context("cannot fetch the package lists")?;
        fs::write(&stamp, sources).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// The packages that installing `names` on the machine would bring.
    pub(super) fn resolve_closure<S: AsRef<OsStr>>(&self, names: &[S]) -> Result<Vec<Deb>> {
        self.resolve(&["install", "--yes", "--no-install-recommends"], names)
    }

    /// The named packages alone.
    pub(super) fn resolve_exact<S: AsRef<OsStr>>(&self, names: &[S]) -> Result<Vec<Deb>> {
        self.resolve(&["download"], names)
    }

    fn resolve<S: AsRef<OsStr>>(&self, action: &[&str], names: &[S]) -> Result<Vec<Deb>> {
        let mut command = self.command("apt-get");
        command
            .args(["-o", "Acquire::ForceHash=sha256"])
            .args(action)
            .arg("--print-uris");
        let output = run(command.args(names))?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .filter(|line| line.starts_with('\''))
            .map(parse_uri_line)
            .collect()
    }

    /// The versioned package that the metapackage `name` depends on first.
    pub(super) fn behind(&self, name: &str) -> Result<String> {
        let output = run(self
            .command("apt-cache")
            .args(["depends", "--important", name]))?;
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
            .ok_or_else(|| anyhow!("package {name} depends on nothing: it is no metapackage"))
    }

    /// Downloads packages into `folder`, going on where an earlier run stopped.
    pub(super) fn download(&self, debs: &[&Deb], folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let exact = debs
            .iter()
            .map(|deb| format!("{}={}", deb.name, deb.version));
        run(self
            .command("apt-get")
            .arg("download")
            .args(exact)
            .current_dir(folder))
        .map(drop)
    }
}

/// Debian's keyring under `root`, by its new name or its old one.
fn debian_keyring_in(root: &Path) -> Option<PathBuf> {
    ["pgp", "gpg"]
        .map(|suffix| {
            root.join("usr/share/keyrings/debian-archive-keyring")
                .with_extension(suffix)
        })
        .into_iter()
        .find(|path| path.exists())
}

/// Unpacks a package into `folder` without running any of its scripts.
pub(super) fn unpack(package: &Path, folder: &Path) -> Result<()> {
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(package)
        .arg(folder))
    .map(drop)
    .with_context(|| format!("cannot unpack {}", package.display()))
}

/// The distribution's own sources on this machine.
fn machine_sources(distribution: &Distribution) -> Result<Vec<Source>> {
    let mut sources: Vec<Source> = sources::read_machine(Path::new("/etc/apt"))
        .iter()
        .filter_map(|source| source.of_distribution(&distribution.codename))
        .collect();
    ensure!(!sources.is_empty(), no_sources(distribution));
    if distribution.is_ubuntu {
        // Most of the lab is in universe, which servers may have switched off.
        for source in &mut sources {
            source.components = vec!["main".to_owned(), "universe".to_owned()];
        }
    }
    Ok(sources)
}

fn no_sources(distribution: &Distribution) -> String {
    let codename = &distribution.codename;
    format!("no source of release {codename} in /etc/apt: add the distribution's own mirror")
}

fn configuration(root: &Path, architecture: &str) -> String {
    let root = root.display();
    format!(
        r#"// Hooks of the system would act on the system.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
Debug::NoLocking "true";
Acquire::Retries "3";
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{root}/preferences.d";
"#
    )
}

/// Parses a line of `--print-uris`: `'uri' name_version_arch.deb bytes SHA256:hash`.
fn parse_uri_line(line: &str) -> Result<Deb> {
    let parse = || {
        let mut words = line.split_whitespace().skip(1);
        let (file, bytes, hash) = (words.next()?, words.next()?, words.next()?);
        let mut parts = file.strip_suffix(".deb")?.split('_');
        let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Deb {
            name: name.to_owned(),
            version: version.replace("%3a", ":"),
            architecture: architecture.to_owned(),
            bytes: bytes.parse().ok()?,
            sha256: hash.strip_prefix("SHA256:")?.to_owned(),
        })
    };
    parse().with_context(|| format!("apt-get names a package in an unknown way: {line}"))
}

/// Runs a command to its end; what it printed becomes the error if it fails.
fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}: is it installed?"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        // apt marks its errors `E:`; the warnings around them name the cause.
        let told: Vec<&str> = errors
            .lines()
            .filter(|line| line.starts_with(['E', 'W']))
            .take(8)
            .collect();
        let told = if told.is_empty() {
            errors.trim().to_owned()
        } else {
            told.join("\n  ")
        };
        bail!("{program} failed ({}):\n  {told}", output.status);
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_underneath_is_found() {
        let cases = [
            (
                "ID=debian\nVERSION_CODENAME=bookworm\n",
                Some((false, "bookworm")),
            ),
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble",
                Some((true, "noble")),
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble",
                Some((true, "noble")),
            ),
            (
                "ID=raspbian\nID_LIKE=debian\nVERSION_CODENAME='bookworm'",
                Some((false, "bookworm")),
            ),
            ("ID=fedora\nVERSION_CODENAME=\"\"", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(ubuntu, name)| (ubuntu, name.to_owned()));
            assert_eq!(parse_os_release(text), expected, "{text}");
        }
    }

    #[test]
    fn uri_lines_become_packages() {
        let line = "'http://mirror.example/debian/pool/main/b/busybox/busybox-static_1.37.0-6%2bb9_arm64.deb' busybox-static_1%3a1.37.0-6+b9_arm64.deb 847552 SHA256:c833be48";
        let deb = parse_uri_line(line).expect("a line as apt prints it");
        assert_eq!(
            (&*deb.name, &*deb.version),
            ("busybox-static", "1:1.37.0-6+b9")
        );
        assert_eq!(
            (&*deb.architecture, deb.bytes, &*deb.sha256),
            ("arm64", 847_552, "c833be48")
        );
        for broken in [
            "'http://x'",
            "'u' a_b.deb 1 SHA256:0",
            "'u' a_1_all.deb 1 MD5Sum:0",
        ] {
            assert!(parse_uri_line(broken).is_err(), "{broken}");
        }
    }
}
