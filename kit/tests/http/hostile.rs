//! Clients that mean harm: what they hold, they lose to the next one who comes; what they send,
//! nobody takes for something else.

use kit::metrics::ProcessSample;

use super::*;

/// Whoever only holds connections keeps nobody out: the newcomer is served at once, and the one
/// that waited longest is closed.
#[test]
fn a_newcomer_takes_the_place_of_the_one_that_waited_longest() {
    let server = Running::start(Limits { connections_max: 3, ..patient() });
    let mut idle = server.connect();
    idle.get("/once");
    assert_eq!(idle.answer().status, 200);
    let (mut silent, mut halting) = (server.connect(), server.connect());
    halting.send("GET / HTTP/1.1\r\nHost: te");
    eventually(|| server.metric("flashsale_http_connections_open") == 3);
    let mut served = Vec::new();
    for (name, loser) in [("silent", &mut silent), ("halting", &mut halting), ("idle", &mut idle)] {
        let mut newcomer = server.connect();
        newcomer.get("/held");
        assert!(loser.is_closed(), "{name}");
        // Its handler runs: it is nobody's place to take.
        eventually(|| server.echo.held.load(Ordering::SeqCst) > 0);
        server.echo.held.fetch_sub(1, Ordering::SeqCst);
        served.push(newcomer);
    }
    assert_eq!(server.metric("flashsale_http_connections_evicted_total"), 3);
}

/// A flood of silent connections eats itself: one that is between two requests is the last to go.
#[test]
fn a_flood_of_silent_connections_displaces_only_itself() {
    let server = Running::start(Limits { connections_max: 64, ..patient() });
    let mut honest = server.connect();
    honest.get("/first");
    assert_eq!(honest.answer().status, 200);
    let flood: Vec<Client> = (0..640).map(|_| server.connect()).collect();
    eventually(|| server.metric("flashsale_http_connections_evicted_total") >= 640 + 1 - 64);
    honest.get("/second");
    assert_eq!(honest.answer().body, "/second");
    assert!(server.metric("flashsale_http_connections_open") <= 64);
    drop(flood);
}

/// The answer to a body that is too large reaches a client who reads only after it has sent all of
/// it.
#[test]
fn a_client_that_sends_a_megabyte_before_it_reads_still_gets_its_answer() {
    let server = Running::start(patient());
    for framing in ["Content-Length: 1048576\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n100000\r\n"] {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}"));
        for _ in 0..256 {
            client.send([b'x'; 4_096]);
        }
        assert_eq!(client.answer().status, 413, "{framing:?}");
        assert!(client.is_closed(), "{framing:?}");
    }
    drop(server.connect());
    eventually(|| server.metric("flashsale_http_connections_open") == 0);
}

/// What one request hides in its body, or says twice about its length, is never taken for a second
/// request.
#[test]
fn nothing_is_smuggled_behind_a_request() {
    let server = Running::start(patient());
    let hidden = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";
    let length = hidden.len();
    for (request, is_refused) in [
        (format!("GET /seen HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{hidden}"), false),
        (format!("HEAD /seen HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{hidden}"), false),
        // RFC 9112, 6.3: one that says both is answered by its chunks at most, and its connection
        // closed.
        (
            format!(
                "POST /seen HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            false,
        ),
        (
            format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
            true,
        ),
        (format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0, {length}\r\n\r\n{hidden}"), true),
        (format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: +0\r\n\r\n{hidden}"), true),
        (format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 18446744073709551616\r\n\r\n{hidden}"), true),
        (
            format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
            true,
        ),
        (format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"), true),
        (format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"), true),
        (format!("POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"), true),
        (format!("GET /seen HTTP/1.1\r\nHost: test\r\nX-Folded: a\r\n {hidden}"), true),
        (format!("GET /seen HTTP/1.1\r\nHost: test\r\nX-Return: a\r{hidden}"), true),
        (format!("GET /seen HTTP/1.1\r\nHost: test\r\nX-Null: a\0b\r\n\r\n{hidden}"), true),
    ] {
        let mut client = server.connect();
        client.send(&request);
        client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = String::new();
        client.stream.read_to_string(&mut answers).unwrap();
        assert!(!answers.contains("/hidden"), "{request:?}: {answers:?}");
        assert_eq!(
            answers.starts_with("HTTP/1.1 400 ") || answers.starts_with("HTTP/1.0 400 "),
            is_refused,
            "{request:?}: {answers:?}"
        );
    }
}

/// A client that pipelines and never reads is cut off; until then it holds one answer's worth of
/// memory, not thousands.
#[test]
fn a_client_that_reads_nothing_is_closed() {
    let server = Running::start(Limits { idle_deadline: SHORT, header_deadline: SHORT, ..patient() });
    let client = server.connect();
    client.stream.get_ref().set_write_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(4_096));
    let mut writer = client.stream.get_ref();
    // Ends when the server has closed; the kernel's buffers on both sides are bounded, so it cannot
    // go on for ever.
    while writer.write_all(request.as_bytes()).is_ok() {}
    eventually(|| server.metric("flashsale_http_connections_open") == 0);
}

/// Fault 13: an answer of megabytes that all share is there once, however many clients ask for it
/// and read nothing.
#[test]
fn clients_that_do_not_read_a_large_answer_hold_no_copy_of_it() {
    const LARGE: usize = 4 << 20;
    const CLIENTS: usize = 64;
    let echo = Echo { large: http::Bytes::from(vec![b'x'; LARGE]), ..Echo::default() };
    let server = Running::start_with(patient(), echo);
    let resident = || ProcessSample::of_pid(std::process::id()).unwrap().resident_bytes;
    let before = resident();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.get("/large");
        // The first byte is here: the answer is on its way, as far as the kernel takes it.
        assert_eq!(client.stream.get_ref().peek(&mut [0]).unwrap(), 1);
    }
    let grown = resident().saturating_sub(before);
    println!("{CLIENTS} clients that do not read {LARGE} bytes: {} KiB in all", grown >> 10);
    assert!(grown < (CLIENTS * LARGE / 4) as u64, "{} MiB", grown >> 20);
    for client in &mut clients[..2] {
        assert_eq!(client.answer().body.len(), LARGE, "and it comes whole, when it is read");
    }
}

/// Whatever was asked: when its client is gone, a connection is too.
#[test]
fn a_connection_ends_with_its_client() {
    let server = Running::start(patient());
    let lines = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";
    for request in [
        lines.to_owned(),
        "GET /x HTTP/1.0\r\n\r\n".to_owned(),
        "GET http://elsewhere/x HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned(),
        "CONNECT test:443 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "GET /x HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\nhello".to_owned(),
        "GET /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: test\r\nExpect: a miracle\r\n\r\n".to_owned(),
        "POST /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n".to_owned(),
        "POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 99999\r\n\r\n".to_owned(),
        "POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "HEAD /x HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nGET /".to_owned(),
        format!("GET /x HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(9_000)),
        lines.repeat(2_000),
    ] {
        let name: Vec<&str> = request.lines().take(4).collect();
        for is_reset in [true, false] {
            let mut client = server.connect();
            client.send(&request);
            if is_reset {
                // Closed with an answer unread.
                client.stream.get_ref().peek(&mut [0]).unwrap();
            } else {
                client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
                let ended = client.stream.read_to_end(&mut Vec::new());
                assert!(ended.is_ok(), "{name:?} and {} bytes: {ended:?}", request.len());
            }
            drop(client);
            eventually(|| server.metric("flashsale_http_connections_open") == 0);
        }
    }
}
