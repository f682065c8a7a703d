//! Listening sockets: set up so that each core's runtime can have one of its own on the same
//! address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel completes before we accept them. The system's `somaxconn` may cap it.
const BACKLOG: i32 = 4096;

/// What the kernel keeps for a connection, asked for: it takes twice as much, bookkeeping included.
/// Requests and answers are small, and whoever does not read his answers, or sends what nobody
/// reads, shall not fill the kernel's memory: by itself it grows these to megabytes. Enough for a
/// few MB/s over a continent.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Opens a listener. With `reuse_port`, several listeners can share the address and the kernel
/// spreads connections over them by a hash: open one per runtime, and all of them before serving,
/// or early connections crowd the first. Port 0 takes a free one; share it by binding the rest to
/// the first one's `local_addr`.
///
/// Accepted connections inherit `TCP_NODELAY` and bounded buffers.
///
/// # Errors
///
/// When the address is taken or not ours, or the system refuses a socket.
pub fn bind(addr: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Without it a restart waits for the TIME_WAIT of its predecessor's connections.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    // Linux hands it down to accepted connections: one call here instead of one per connection.
    socket.set_tcp_nodelay(true)?;
    // Before listening: the window is agreed on while a connection is made.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn listeners_share_an_address_only_when_asked_to() {
        let first = bind(LOOPBACK, true).unwrap();
        let addr = first.local_addr().unwrap();
        bind(addr, true).unwrap();
        assert_eq!(bind(addr, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn accepted_connections_do_not_wait_to_fill_a_packet() {
        let listener = bind(LOOPBACK, false).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _peer) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn accepted_connections_have_bounded_buffers() {
        let listener = bind(LOOPBACK, false).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        assert!(accepted.send_buffer_size().unwrap() <= 2 * SEND_BUFFER_BYTES);
        assert!(accepted.recv_buffer_size().unwrap() <= 2 * RECEIVE_BUFFER_BYTES);
    }
}
