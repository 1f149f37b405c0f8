//! Giving up root once sockets and files are open. Linux only.

use std::fmt;
use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Uid, geteuid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, no_new_privs,
    set_capabilities, set_no_new_privs, set_thread_uid,
};

use crate::sys;

/// Who a root process becomes if nobody said: the first that exists.
const DEFAULT_USERS: [&str; 2] = ["ichor", "nobody"];

const PASSWD: &str = "/etc/passwd";

/// A user to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// Why privileges could not be given up. Displays what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// There is no such user in `/etc/passwd`.
    NoUser {
        /// The name or number that was asked for.
        name: String,
    },
    /// The user is root again.
    Root,
    /// A system call failed.
    Io {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel said yes, and the privileges are still there.
    StillPrivileged,
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser { name } => write!(
                f,
                "there is no user {name} in {PASSWD}: `useradd --system ichor` makes one"
            ),
            Self::Root => f.write_str("root is no user to drop privileges to: name another one"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::StillPrivileged => f.write_str("giving up privileges had no effect"),
        }
    }
}

impl std::error::Error for PrivilegeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn failed(doing: impl Into<String>) -> impl FnOnce(io::Error) -> PrivilegeError {
    let doing = doing.into();
    move |source| PrivilegeError::Io { doing, source }
}

impl User {
    /// Finds a user by name or number; without either, `ichor` or `nobody`.
    ///
    /// Looks at `/etc/passwd` alone: name services are plug-ins of the C
    /// library, which a static program does not have.
    pub fn find(name: Option<&str>) -> Result<Self, PrivilegeError> {
        let passwd =
            std::fs::read_to_string(PASSWD).map_err(failed(format!("reading {PASSWD}")))?;
        find_in(&passwd, name)
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn find_in(passwd: &str, name: Option<&str>) -> Result<User, PrivilegeError> {
    let users = || {
        passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            Some(User {
                name: fields.next()?.into(),
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        })
    };
    let found = match name {
        Some(name) => users().find(|user| user.name == name || user.uid.to_string() == name),
        None => DEFAULT_USERS
            .iter()
            .find_map(|default| users().find(|user| user.name == *default)),
    };
    match found {
        Some(User { uid: 0, .. }) => Err(PrivilegeError::Root),
        Some(user) => Ok(user),
        None => Err(PrivilegeError::NoUser {
            name: name.unwrap_or(DEFAULT_USERS[0]).into(),
        }),
    }
}

/// Gives up every privilege for good.
///
/// A root process becomes `user`, who gets the state folder and what is in
/// it. Any process loses its capabilities and can gain none by running other
/// programs. Call it when NIC, ports and lease log are open and before there
/// are other threads.
pub fn drop_privileges(user: &User, state_folder: &Path) -> Result<(), PrivilegeError> {
    if geteuid().is_root() {
        give(state_folder, user)?;
        sys::become_user(user.uid, user.gid)
            .map_err(failed(format!("becoming user {}", user.name)))?;
    }
    let giving_up = || failed("giving up capabilities");
    // Linux before 4.3 has no ambient set.
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(giving_up()(errno.into())),
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(|errno| giving_up()(errno.into()))?;
    set_no_new_privs(true).map_err(|errno| giving_up()(errno.into()))?;
    check()
}

/// Does not take the kernel's word for it.
fn check() -> Result<(), PrivilegeError> {
    let has_capabilities = !capabilities(None)
        .is_ok_and(|sets| (sets.effective | sets.permitted | sets.inheritable).is_empty());
    let is_root = getuid().is_root() || geteuid().is_root();
    let can_be_root_again = set_thread_uid(Uid::ROOT).is_ok();
    let can_gain = !no_new_privs().unwrap_or(false);
    if has_capabilities || is_root || can_be_root_again || can_gain {
        return Err(PrivilegeError::StillPrivileged);
    }
    Ok(())
}

/// Makes `user` the owner of a folder and the files in it.
fn give(folder: &Path, user: &User) -> Result<(), PrivilegeError> {
    let give_one = |path: &Path| {
        lchown(path, Some(user.uid), Some(user.gid)).map_err(failed(format!(
            "making {} the owner of {}",
            user.name,
            path.display()
        )))
    };
    give_one(folder)?;
    let reading = || failed(format!("reading {}", folder.display()));
    for entry in std::fs::read_dir(folder).map_err(reading())? {
        give_one(&entry.map_err(reading())?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
# a comment
nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin
boot:x:990:980::/var/lib/boot:/usr/sbin/nologin
";

    #[test]
    fn users_are_found_by_name_number_and_default() {
        let find = |name| find_in(PASSWD, name).map(|user| (user.name, user.uid, user.gid));
        assert_eq!(find(Some("boot")).unwrap(), ("boot".into(), 990, 980));
        assert_eq!(find(Some("990")).unwrap(), ("boot".into(), 990, 980));
        assert_eq!(find(None).unwrap(), ("nobody".into(), 65534, 65533));
        assert!(matches!(find(Some("0")), Err(PrivilegeError::Root)));
        let error = find(Some("ichor")).unwrap_err().to_string();
        assert!(error.contains("useradd --system"), "{error}");
    }
}
