//! The scripts, each with the prelude before it, and known by its digest.

use std::sync::LazyLock;

use redis::{Cmd, Script as Digested};

/// A script.
pub(super) struct Script {
    source: String,
    digest: String,
}

macro_rules! scripts {
    ($($name:ident: $file:literal;)*) => {$(
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("../lua/prelude.lua"), include_str!(concat!("../lua/", $file)))));
    )*};
}

scripts! {
    RESERVE: "reserve.lua";
    SETTLE: "settle.lua";
    FIND: "find.lua";
    CLAIM: "claim.lua";
    CLOSE: "close.lua";
    LOAD: "load.lua";
    ADJUST: "adjust.lua";
    WITHHOLD: "withhold.lua";
    INSPECT: "inspect.lua";
}

impl Script {
    fn new(source: &str) -> Self {
        Self { source: source.to_owned(), digest: Digested::new(source).get_hash().to_owned() }
    }

    /// A call with these keys; its arguments come after.
    pub(super) fn run(&'static self, keys: &[String]) -> Run {
        let mut cmd = Cmd::new();
        cmd.arg("EVALSHA").arg(&self.digest).arg(keys.len()).arg(keys);
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

    /// The same call with its source, which the server then knows: for one that has just started or forgot its scripts.
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
