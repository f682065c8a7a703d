//! Addresses for programs that are started next.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    sync::Mutex,
};

/// The first port that is given out. Those below are the usual ones of servers.
const FIRST: u16 = 20_000;
/// Ports of a block. A process takes as many blocks as it needs.
const BLOCK: u16 = 64;
/// Where the system says which ports it gives to outgoing connections.
const OUTGOING: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// From where it takes them unless told otherwise.
const OUTGOING_FROM: u16 = 32_768;

/// The blocks of this process.
static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks { held: Vec::new(), left: 0..0 });

struct Blocks {
    /// A listener on the first port of each: what keeps other processes out.
    held: Vec<TcpListener>,
    /// Ports that were not given out yet.
    left: Range<u16>,
}

/// An address on the loopback that stays free until somebody is told of it: a program that is
/// started next can listen there, and again after it was killed.
///
/// A port that the system chooses (port 0) and that is let go of may be the local port of any
/// outgoing connection a moment later. These ports lie below those, and each process gives out its
/// own.
///
/// # Errors
///
/// When all ports are taken.
pub fn free_address() -> io::Result<SocketAddr> {
    let mut blocks = BLOCKS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loop {
        for port in blocks.left.by_ref() {
            if listen(port).is_ok() {
                return Ok(loopback(port));
            }
        }
        let (first, held) = claim()?;
        blocks.left = first + 1..first + BLOCK;
        blocks.held.push(held);
    }
}

/// Takes a block that no process holds.
fn claim() -> io::Result<(u16, TcpListener)> {
    let outgoing = fs::read_to_string(OUTGOING).ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
    let end = outgoing.unwrap_or(OUTGOING_FROM).saturating_sub(BLOCK);
    let mut firsts = (FIRST..=end).step_by(BLOCK.into());
    let taken = || io::Error::new(io::ErrorKind::AddrInUse, format!("all ports from {FIRST} to {end} are taken"));
    firsts.find_map(|first| Some((first, listen(first).ok()?))).ok_or_else(taken)
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(loopback(port))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::TcpStream};

    use super::*;

    /// More than a block, so that a second one is taken.
    #[test]
    fn no_address_is_given_out_twice_and_each_can_be_listened_to() {
        let given: Vec<SocketAddr> = (0..BLOCK + 10).map(|_| free_address().unwrap()).collect();
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), given.len());
        let listening: Vec<_> = given.iter().map(|address| TcpListener::bind(address).unwrap()).collect();
        assert_eq!(listening.len(), given.len());
    }

    #[test]
    fn outgoing_connections_have_other_ports() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let lowest =
            (0..100).map(|_| TcpStream::connect(server.local_addr().unwrap()).unwrap().local_addr().unwrap().port());
        assert!(free_address().unwrap().port() < lowest.min().unwrap());
    }

    /// Another process finds the block held: it listens to its first port in vain.
    #[test]
    fn a_block_is_held_against_other_processes() {
        let given = free_address().unwrap().port();
        let first = FIRST + (given - FIRST) / BLOCK * BLOCK;
        assert_eq!(listen(first).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_ne!(claim().unwrap().0, first);
    }
}
