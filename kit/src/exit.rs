//! Exit statuses: one table for all programs, in the numbers of `sysexits.h` where it has one, so
//! that a script can tell what to do next without reading the message. The same cause ends every
//! program with the same status.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Why a program ends. 0 is success: what was asked for is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: the program did its work, and the answer is no: an audit found damage, an order cannot be
    /// cancelled, a sale is not there.
    No,
    /// 64 (`EX_USAGE`): the command line or a setting is wrong. Correct it.
    Usage,
    /// 65 (`EX_DATAERR`): a file that was handed in has flaws: they are named. Correct the file.
    Data,
    /// 66 (`EX_NOINPUT`): a file or folder that was named is not there or cannot be read. Name
    /// another one.
    NoInput,
    /// 69 (`EX_UNAVAILABLE`): a server, a store or a port that is needed is not to be had. Start
    /// it, or free it.
    Unavailable,
    /// 70 (`EX_SOFTWARE`): a fault of the program's own, or a stored state that contradicts itself.
    /// Report it.
    Software,
    /// 74 (`EX_IOERR`): the disk: full, read-only, broken, or the folder is gone. Mend it.
    Disk,
    /// 75 (`EX_TEMPFAIL`): not now: another process has the folder, or work is under way. Try again
    /// later.
    Later,
    /// 77 (`EX_NOPERM`): this user may not, or others may what they should not. Run it as another
    /// user, or correct the rights.
    Permission,
    /// 78 (`EX_CONFIG`): the stored data belong to another version or other settings than this
    /// program's. Run the right one.
    Mismatch,
    /// 130: a second signal, or an interrupt of a program that has nothing to drain.
    Impatient,
}

impl Exit {
    /// Every status, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::No,
        Self::Usage,
        Self::Data,
        Self::NoInput,
        Self::Unavailable,
        Self::Software,
        Self::Disk,
        Self::Later,
        Self::Permission,
        Self::Mismatch,
        Self::Impatient,
    ];

    /// The number.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::No => 1,
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::Disk => 74,
            Self::Later => 75,
            Self::Permission => 77,
            Self::Mismatch => 78,
            Self::Impatient => 130,
        }
    }

    /// What a service ends with that cannot serve. `is_mismatch`: whether an error says that what
    /// is stored was made for other settings, or by another version.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static), is_mismatch: fn(&(dyn Error + 'static)) -> bool) -> Self {
        if is_mismatch(error) { Self::Mismatch } else { Self::of_chain(error).unwrap_or(Self::Unavailable) }
    }

    /// What an error of the system means, wherever it stands in a chain of causes. `None`: there is
    /// none, or it may mean anything.
    #[must_use]
    pub fn of_chain(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<io::Error>().and_then(Self::of_system) {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    /// What an error of the system means; `None` where that depends on what was tried.
    #[must_use]
    pub fn of_system(error: &io::Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::PermissionDenied => Some(Self::Permission),
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::FileTooLarge
            | ErrorKind::StaleNetworkFileHandle => Some(Self::Disk),
            ErrorKind::AddrInUse
            | ErrorKind::AddrNotAvailable
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::TimedOut => Some(Self::Unavailable),
            _ => None,
        }
    }

    /// Tells on standard error why a program ends, and returns this as its status.
    pub fn tell(self, program: &str, why: &dyn Display) -> ExitCode {
        // Nobody to tell is no reason to end otherwise.
        drop(writeln!(io::stderr(), "{program}: {why}"));
        self.into()
    }

    /// Ends the process at once, without any drain.
    pub fn now(self) -> ! {
        std::process::exit(self.status().into())
    }
}

/// An error with its causes in one line. A cause whose words stand in the line already is left out:
/// many errors of ours say in their own words what their source said.
#[must_use]
pub fn whole(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| (*cause).source()) {
        let said = cause.to_string();
        if !line.contains(&said) {
            line = format!("{line}: {said}");
        }
    }
    line
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.status().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("what was tried")]
    struct Tried(#[source] io::Error);

    #[test]
    fn a_line_says_each_cause_once() {
        let refused = || io::Error::other("refused");
        assert_eq!(whole(&Tried(refused())), "what was tried: refused");
        #[derive(Debug, thiserror::Error)]
        #[error("what was tried: {0}")]
        struct Told(#[source] io::Error);
        assert_eq!(whole(&Told(refused())), "what was tried: refused");
    }

    #[test]
    fn statuses_are_distinct_and_ordered() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|exit| exit.status()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert!(!numbers.contains(&0));
    }

    #[test]
    fn the_systems_error_is_found_behind_what_was_tried() {
        for (kind, expected) in [
            (ErrorKind::PermissionDenied, Some(Exit::Permission)),
            (ErrorKind::StorageFull, Some(Exit::Disk)),
            (ErrorKind::AddrInUse, Some(Exit::Unavailable)),
            (ErrorKind::NotFound, None),
        ] {
            assert_eq!(Exit::of_chain(&Tried(kind.into())), expected, "{kind:?}");
        }
        assert_eq!(Exit::of_chain(&std::fmt::Error), None);
    }
}
