//! The second port: by which names it answers, what it refuses, and how large a sale it takes.

use verify::{embedded::Embedded, wire};

fn ask(embedded: &Embedded, request: &str) -> (u16, String, String) {
    wire::ask(embedded.admin_address(), request).unwrap().answered().unwrap()
}

/// A page that leads its own name here (DNS rebinding) reads nothing, whatever it asks for.
#[test]
fn the_second_port_answers_to_its_own_names_only() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    for path in ["/metrics", "/readyz", "/standing", "/lanes", "/sales", "/nothing"] {
        let asked = |host: &str| ask(&embedded, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let (status, _, body) = asked("rebound.example");
        assert_eq!(status, 403, "{path}: {body}");
        assert!(!body.contains("flashsale_"), "{path}: {body}");
        for host in [&*embedded.admin_address().to_string(), "localhost", "[::1]"] {
            assert_ne!(asked(host).0, 403, "{path} as {host}");
        }
    }
}

/// RFC 9110, 15.5.6: a 405 lists the methods that are right.
#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let key = embedded.control_key().unwrap();
    for (method, path, allowed) in [
        ("POST", "/metrics", "get, head"),
        ("DELETE", "/readyz", "get, head"),
        ("POST", "/standing", "get, head"),
        ("PUT", "/lanes", "get, head"),
        ("POST", "/lanes/1/buyers", "get, head"),
        ("GET", "/sales", "post"),
        ("PUT", "/sales", "post"),
        ("GET", "/orders/77/cancel", "post"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n");
        let (status, head, _) = ask(&embedded, &request);
        assert_eq!(status, 405, "{method} {path}");
        assert!(head.contains(&format!("\r\nallow: {allowed}\r\n")), "{method} {path}: {head}");
    }
}

/// One limit for the file, the port and the parser: what a file may have is published with a server
/// and without one.
#[test]
fn a_sale_file_as_large_as_it_may_be_is_published() {
    let embedded = Embedded::new().unwrap();
    let example = embedded.program_says("example").unwrap();
    let largest = |sale: &str, others: &str| {
        let mut text = example.replace("\"1001\"", sale).replace("\"5001\"", others);
        text = text.replace("\"9001\"", &others.replace('6', "7")).replace("\"9002\"", &others.replace('6', "8"));
        text.push('#');
        text.extend(std::iter::repeat_n('x', catalog::file::FILE_BYTES_MAX - text.len()));
        text
    };
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    embedded.publish(&largest("\"2001\"", "\"6001\"")).unwrap();
    let key = embedded.control_key().unwrap();
    let too_long = catalog::file::FILE_BYTES_MAX + 1;
    let request = format!(
        "POST /sales HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: {too_long}\r\n\r\n"
    );
    assert_eq!(ask(&embedded, &request).0, 413);
    server.terminate().unwrap();
    server.wait(std::time::Duration::from_secs(60)).unwrap();
    embedded.publish(&largest("\"2002\"", "\"6002\"")).unwrap();
}
