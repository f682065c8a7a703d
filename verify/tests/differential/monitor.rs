//! The order in which Redis carried out the scripts of a lane, without a change to them: MONITOR,
//! on the test's own Redis. Redis carries out one command after the other and tells monitors of a
//! script when it begins it, so what they hear is the order of the lane's answers, those of
//! refusals too; their connection keeps it. Which answer belongs to which line is found by the
//! arguments: a batch id is unique.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use domain::{
    id::LaneId,
    stock::{Gone, GoneWhy},
};

use super::{
    notes::{Call, Noted},
    parts::PATIENCE,
};

/// Arguments of a script, its name and keys left out.
type Arguments = Vec<Vec<u8>>;

/// What was heard.
#[derive(Default)]
struct Heard {
    scripts: HashMap<LaneId, Vec<Arguments>>,
    marks: HashSet<Vec<u8>>,
}

/// A listener.
pub(crate) struct Monitor {
    address: String,
    heard: Arc<Mutex<Heard>>,
}

impl Monitor {
    /// Listens to the server at this URL from now on until it ends.
    pub(crate) fn start(url: &str) -> Self {
        let address = url.trim_start_matches("redis://").to_owned();
        let heard = Arc::<Mutex<Heard>>::default();
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"+OK\r\n");
        let into = Arc::clone(&heard);
        thread::spawn(move || {
            loop {
                line.clear();
                // The server ends, or restarts: what comes later is not asked for.
                if lines.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                    return;
                }
                into.lock().unwrap().take(&words(&line));
            }
        });
        Self { address, heard }
    }

    /// Waits until everything that was carried out before is heard.
    fn catch_up(&self) {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(format!("ECHO {mark}\r\n").as_bytes()).unwrap();
        BufReader::new(stream).read_until(b'\n', &mut Vec::new()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !self.heard.lock().unwrap().marks.contains(mark.as_bytes()) {
            assert!(Instant::now() < deadline, "the monitor hears");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The calls of a lane in the order in which they were carried out. The load comes first: its
    /// lane was closed before.
    pub(crate) fn order(&self, lane: LaneId, noted: Vec<Noted>) -> Result<Vec<Call>, String> {
        self.catch_up();
        let mut ordered = Vec::new();
        let mut calls: HashMap<Arguments, VecDeque<Call>> = HashMap::new();
        for Noted { call, .. } in noted {
            match arguments(&call) {
                None => ordered.push(call),
                Some(arguments) => calls.entry(arguments).or_default().push_back(call),
            }
        }
        let heard = self.heard.lock().unwrap();
        for script in heard.scripts.get(&lane).into_iter().flatten() {
            let call = calls.get_mut(&telling(script)).and_then(VecDeque::pop_front);
            ordered.push(call.ok_or_else(|| format!("the lane was asked what nobody here asked: {script:?}"))?);
        }
        let left: Vec<Call> = calls.into_values().flatten().collect();
        if left.is_empty() { Ok(ordered) } else { Err(format!("never heard: {left:?}")) }
    }
}

impl Heard {
    fn take(&mut self, words: &[Vec<u8>]) {
        match words {
            [name, mark] if name == b"ECHO" => {
                self.marks.insert(mark.clone());
            }
            [name, _, _, state, _, _, _, arguments @ ..] if name == b"EVALSHA" || name == b"EVAL" => {
                let Some(lane) = lane_of(state) else { return };
                if !is_call(arguments) {
                    return;
                }
                let scripts = self.scripts.entry(lane).or_default();
                // The source is sent after the server did not know the digest, and did nothing:
                // that was no call.
                let unknown = scripts.iter().rposition(|script| name == b"EVAL" && script == arguments);
                unknown.map(|at| scripts.remove(at));
                scripts.push(arguments.to_vec());
            }
            _ => {}
        }
    }
}

/// `namespace:{lane}:state`.
fn lane_of(key: &[u8]) -> Option<LaneId> {
    let key = std::str::from_utf8(key).ok()?;
    let (_, rest) = key.split_once('{')?;
    rest.split_once('}')?.0.parse().ok()
}

/// Calls of `reserve` have eight arguments, those of `settle` three, and both begin with an epoch
/// and batch ids. (Steps of a load begin with a word, and nobody sweeps here.)
fn is_call(arguments: &[Vec<u8>]) -> bool {
    let [epoch, batches, ..] = arguments else { return false };
    let is_epoch = epoch.iter().all(u8::is_ascii_digit);
    is_epoch && ((arguments.len() == 8 && batches.len() == 8) || arguments.len() == 3)
}

/// The part of a script's arguments that tells the call.
fn telling(arguments: &[Vec<u8>]) -> Arguments {
    if arguments.len() == 8 { arguments[..2].to_vec() } else { arguments.to_vec() }
}

/// The same of a call; none for a load.
fn arguments(call: &Call) -> Option<Arguments> {
    match call {
        Call::Load(..) => None,
        Call::Reserve(call, ..) => Some(vec![call.epoch.0.to_string().into(), call.batch.get().to_be_bytes().to_vec()]),
        Call::Settle(epoch, batches, gone, _) => {
            let batches = batches.iter().flat_map(|batch| batch.get().to_be_bytes()).collect();
            Some(vec![epoch.0.to_string().into(), batches, gone.iter().flat_map(gone_bytes).collect()])
        }
    }
}

fn gone_bytes(gone: &Gone) -> Vec<u8> {
    let (why, retired) = match gone.why {
        GoneWhy::Released { retired } => (b'R', u8::try_from(retired).unwrap()),
        GoneWhy::Rejected => (b'J', 0),
        GoneWhy::RejectedForStock => (b'S', 0),
    };
    [&gone.buyer.get().to_be_bytes()[..], &gone.order.get().to_be_bytes()[..], &[why, retired]].concat()
}

/// The quoted words of a monitor's line.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.iter().copied();
    while bytes.by_ref().any(|byte| byte == b'"') {
        let mut word = Vec::new();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => break,
                b'\\' => word.push(unescaped(&mut bytes)),
                plain => word.push(plain),
            }
        }
        words.push(word);
    }
    words
}

fn unescaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    match bytes.next() {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'a') => 7,
        Some(b'b') => 8,
        Some(b'x') => {
            let digits: String = bytes.take(2).map(char::from).collect();
            u8::from_str_radix(&digits, 16).unwrap()
        }
        other => other.unwrap(),
    }
}
