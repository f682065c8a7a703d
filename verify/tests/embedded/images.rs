//! Images of products: whoever asks, and however slowly it is read, memory is bounded.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use kit::metrics::ProcessSample;
use serde_json::Value;
use verify::{child::wait_until, embedded::Embedded, wire};

const PATIENCE: Duration = Duration::from_secs(60);
/// The largest that an image may be.
const IMAGE_BYTES: usize = 1024 * 1024;
/// Twice as many as the server keeps in memory.
const IMAGES: usize = 64;
/// Those who ask and read nothing.
const SILENT: usize = 400;
/// Images that the server takes in at a time.
const UPLOADS: usize = 32;
/// What is kept, and for each connection a piece, the buffer that it is written to, and what else a
/// connection costs. A copy of the image for each would be 400 MiB.
const GROWTH_MAX: u64 = 160 << 20;

/// A picture, as far as its first bytes tell, whose other bytes are its own.
fn picture(number: usize) -> Vec<u8> {
    let mut bytes = b"RIFF....WEBPVP8 ".to_vec();
    bytes.extend(format!("{number:8}").bytes().cycle().take(IMAGE_BYTES - bytes.len()));
    bytes
}

fn head(embedded: &Embedded, key: &str, number: usize, length: usize) -> String {
    let operator = embedded.control_key().unwrap();
    format!(
        "POST /v1/images HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {operator}\r\nFlashsale-Tenant: 7\r\n\
         Idempotency-Key: {key}-{number}\r\nContent-Type: image/webp\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Status and body of an upload.
fn upload(embedded: &Embedded, key: &str, number: usize) -> (u16, Value) {
    let picture = picture(number);
    let request = [head(embedded, key, number, picture.len()).as_bytes(), &picture].concat();
    let (status, _, body) = wire::ask(embedded.address(), request).unwrap().answered().unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// 400 clients that ask for images of a megabyte, which are not all kept, and read nothing: the
/// server holds a piece for each. Somebody who reads gets his image meanwhile, whole.
#[test]
fn images_that_nobody_reads_cost_a_piece_each_and_uploads_come_few_at_a_time() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let paths: Vec<String> = (0..IMAGES)
        .map(|number| {
            let (status, image) = upload(&embedded, "u", number);
            assert_eq!(status, 201, "{image}");
            image["path"].as_str().unwrap().to_owned()
        })
        .collect();
    let memory = || ProcessSample::of_pid(server.id()).unwrap().resident_bytes;
    let before = memory();
    let silent: Vec<TcpStream> = (0..SILENT)
        .map(|number| {
            let mut stream = TcpStream::connect(embedded.address()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let path = &paths[number % IMAGES];
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n").as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in &silent {
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "it is being answered");
    }
    for (number, path) in paths.iter().enumerate() {
        let mut stream = TcpStream::connect(embedded.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut came = Vec::new();
        stream.read_to_end(&mut came).unwrap();
        assert!(came.starts_with(b"HTTP/1.1 200") && came.ends_with(&picture(number)), "image {number}");
    }
    let growth = memory().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "{} MiB for {SILENT} clients that read nothing", growth >> 20);
    println!("{} MiB for {SILENT} clients that read nothing, after {} MiB", growth >> 20, before >> 20);
    drop(silent);

    // Uploads that do not come hold all places, until they are given up; a further one is told to
    // come back, and gets in when they are gone.
    let slow = || -> Vec<TcpStream> {
        let stream = |number| {
            let mut stream = TcpStream::connect(embedded.address()).unwrap();
            stream.write_all(head(&embedded, "slow", number, IMAGE_BYTES).as_bytes()).unwrap();
            stream
        };
        (0..UPLOADS).map(stream).collect()
    };
    let mut asked = 0;
    let mut further = || {
        asked += 1;
        upload(&embedded, "further", asked)
    };
    wait_until("a further upload is told to come back", PATIENCE, || {
        let _slow = slow();
        Ok(further().1["code"] == "overloaded")
    })
    .unwrap();
    wait_until("it gets in", PATIENCE, || Ok(further().0 == 201)).unwrap();
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
}
