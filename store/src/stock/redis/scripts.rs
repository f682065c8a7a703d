//! The scripts, each with the prelude before it, and known by its digest.

use std::sync::LazyLock;

use domain::id::LaneId;
use redis::{Cmd, RedisWrite, Script as Digested};

use super::keys::{Keys, PARTS};

/// A script.
pub(super) struct Script {
    source: String,
    digest: String,
}

macro_rules! scripts {
    ($($name:ident: $file:literal $($flags:literal)?;)*) => {$(
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let prelude = include_str!("../lua/prelude.lua");
            Script::new(concat!($($flags)?), prelude, include_str!(concat!("../lua/", $file)))
        });
    )*};
}

// A full memory refuses promises and loads; what frees memory or takes away from what is sold must
// go on.
scripts! {
    RESERVE: "reserve.lua";
    SETTLE: "settle.lua" "#!lua flags=allow-oom\n";
    FIND: "find.lua";
    CLAIM: "claim.lua" "#!lua flags=allow-oom\n";
    CLOSE: "close.lua" "#!lua flags=allow-oom\n";
    LOAD: "load.lua";
    RETIRE: "retire.lua" "#!lua flags=allow-oom\n";
    ADJUST: "adjust.lua" "#!lua flags=allow-oom\n";
    WITHHOLD: "withhold.lua" "#!lua flags=allow-oom\n";
    LIMIT: "limit.lua" "#!lua flags=allow-oom\n";
    INSPECT: "inspect.lua";
}

impl Script {
    fn new(flags: &str, prelude: &str, body: &str) -> Self {
        let source = [flags, prelude, body].concat();
        Self { digest: Digested::new(&source).get_hash().to_owned(), source }
    }

    /// A call for this lane; its arguments, about so many bytes of them, come after.
    pub(super) fn run(&'static self, keys: &Keys, lane: LaneId, bytes: usize) -> Run {
        let mut cmd = Cmd::with_capacity(16, bytes + 256);
        cmd.arg("EVALSHA").arg(&self.digest).arg(PARTS.len());
        for part in PARTS {
            cmd.write_arg_fmt(keys.key(lane, part));
        }
        Run { script: self, cmd }
    }
}

/// A call of a script.
pub(super) struct Run {
    script: &'static Script,
    cmd: Cmd,
}

impl Run {
    /// Adds an argument.
    pub(super) fn arg(&mut self, argument: impl redis::ToRedisArgs) -> &mut Self {
        self.cmd.arg(argument);
        self
    }

    /// The call by digest.
    pub(super) const fn by_digest(&self) -> &Cmd {
        &self.cmd
    }

    /// The same call with its source, which the server then knows: for one that has just started or
    /// forgot its scripts.
    pub(super) fn by_source(&self) -> Cmd {
        let mut cmd = Cmd::new();
        cmd.arg("EVAL").arg(&self.script.source);
        for argument in self.cmd.args_iter().skip(2) {
            if let redis::Arg::Simple(argument) = argument {
                cmd.arg(argument);
            }
        }
        cmd
    }
}
