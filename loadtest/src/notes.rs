//! What the generator writes down: one small note for each send, the names the notes refer to, and
//! the meters that the progress display reads while it runs. Notes are cheap to take and are
//! counted later.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `202 accepted`.
    Accepted,
    /// `202 pending`.
    Pending,
    /// A final answer that promises nothing: a no, or a page.
    Refused,
    /// Come back later.
    Deferred,
    /// The client went away, as planned.
    Aborted,
    /// An answer or a fault that should not be.
    Unexpected,
    /// Not even sent: no connection could be made.
    NotSent,
}

/// A kind with its detail: the refusal's code, the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// What it is.
    pub kind: Kind,
    /// How it is called in reports.
    pub text: String,
}

/// One send and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// The order promised; 0 for none.
    pub order: u64,
    /// Index in the plan.
    pub send: u32,
    /// Microseconds from the start to the end of the send.
    pub at_us: u32,
    /// Microseconds from the intended time to the end of the send.
    pub latency_us: u32,
    /// Index in the names of the run.
    pub name: u8,
}

/// Names that differ, at most; what comes later is called "other".
const NAMES_MAX: usize = 200;

/// All names met so far; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<Vec<Name>>>);

impl Names {
    /// The index of a name, new or known.
    pub(crate) fn index(&self, kind: Kind, text: &str) -> u8 {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = names.iter().position(|name| name.kind == kind && name.text == text) {
            return u8::try_from(at).unwrap_or(u8::MAX);
        }
        let text = if names.len() < NAMES_MAX { text } else { "other" };
        if let Some(at) = names.iter().position(|name| name.kind == kind && name.text == text) {
            return u8::try_from(at).unwrap_or(u8::MAX);
        }
        names.push(Name { kind, text: text.to_owned() });
        u8::try_from(names.len() - 1).unwrap_or(u8::MAX)
    }

    pub(crate) fn all(&self) -> Vec<Name> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A thread's notes. Only its own tasks write, one at a time: the lock is never contended.
#[derive(Debug, Default)]
pub(crate) struct Notebook(Mutex<Vec<Note>>);

impl Notebook {
    pub(crate) fn with_capacity(notes: usize) -> Self {
        Self(Mutex::new(Vec::with_capacity(notes)))
    }

    pub(crate) fn push(&self, note: Note) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    pub(crate) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counters that can be read while the load runs.
#[derive(Debug, Default)]
pub struct Meters {
    pub(crate) sent: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) pending: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) aborted: AtomicU64,
    pub(crate) unexpected: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
}

/// What the meters show at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Requests written.
    pub sent: u64,
    /// `202 accepted`.
    pub accepted: u64,
    /// `202 pending`.
    pub pending: u64,
    /// Refused, finally or until later.
    pub refused: u64,
    /// Given up by the client, as planned.
    pub aborted: u64,
    /// What should not be.
    pub unexpected: u64,
    /// Attempts to connect that failed; each is repeated.
    pub connect_failures: u64,
}

impl Meters {
    /// All of them now.
    pub fn read(&self) -> Reading {
        let value = |meter: &AtomicU64| meter.load(Ordering::Relaxed);
        Reading {
            sent: value(&self.sent),
            accepted: value(&self.accepted),
            pending: value(&self.pending),
            refused: value(&self.refused),
            aborted: value(&self.aborted),
            unexpected: value(&self.unexpected),
            connect_failures: value(&self.connect_failures),
        }
    }

    pub(crate) fn count(&self, kind: Kind) {
        let meter = match kind {
            Kind::Accepted => &self.accepted,
            Kind::Pending => &self.pending,
            Kind::Refused | Kind::Deferred => &self.refused,
            Kind::Aborted => &self.aborted,
            Kind::Unexpected | Kind::NotSent => &self.unexpected,
        };
        meter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once_and_bounded() {
        let names = Names::default();
        let sold_out = names.index(Kind::Refused, "sold_out");
        assert_ne!(names.index(Kind::Unexpected, "sold_out"), sold_out);
        assert_eq!(names.index(Kind::Refused, "sold_out"), sold_out);
        for i in 0..1_000 {
            names.index(Kind::Unexpected, &format!("nonsense {i}"));
        }
        let all = names.all();
        assert_eq!(all.len(), NAMES_MAX + 1);
        assert_eq!(all[NAMES_MAX], Name { kind: Kind::Unexpected, text: "other".into() });
    }

    /// Ten million refusals must fit into memory.
    #[test]
    fn a_note_is_small() {
        assert!(size_of::<Note>() <= 24);
    }
}
