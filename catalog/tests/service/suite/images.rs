//! Images: their bytes say what they are, the same bytes are one image, and what is served never
//! changes and runs nothing.

use serde_json::json;
use store::sql::Sql as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use super::{products::acting, rig::Rig};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR-the-rest-of-a-picture";

#[tokio::test]
async fn the_same_bytes_are_one_image_which_is_served_to_everybody_for_ever() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let upload = |tenant, key: &str| acting(rig.post("/v1/images"), tenant).key(key).body("image/png", PNG).send();
    let made = upload(1, "a").await;
    let image = made.expect(201);
    for (tenant, key) in [(1, "a"), (1, "b"), (2, "a")] {
        assert_eq!(upload(tenant, key).await.expect(201), image);
    }
    let rows = rig.db.rows("SELECT COUNT(*) FROM images", vec![]).await.unwrap().remove(0).int().unwrap();
    assert_eq!(rows, 1);
    let path = image["path"].as_str().unwrap();
    assert_eq!(made.headers["location"], path);
    let served = rig.get(path).send().await;
    assert_eq!((served.status.as_u16(), &served.body[..]), (200, PNG));
    for (name, value) in [
        ("content-type", "image/png"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
    ] {
        assert_eq!(served.headers[name], value);
    }
    let tag = served.headers["etag"].to_str().unwrap();
    let again = rig.get(path).header("if-none-match", tag).send().await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    for none in ["/v1/images/x".to_owned(), format!("/v1/images/{}", "0".repeat(64)), path.to_uppercase()] {
        assert_eq!(rig.get(&none).send().await.status, 404, "{none}");
    }
    // It may be named by the products of whoever uploaded it.
    let product = json!({ "code": "K", "title": "K", "images": [image["hash"]] });
    acting(rig.post("/v1/products"), 1).key("k").json(&product).send().await.expect(201);
    acting(rig.post("/v1/products"), 3).key("k").json(&product).send().await.refused(400, "invalid_request");
}

#[tokio::test]
async fn what_is_no_image_or_says_that_it_is_another_is_refused() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let webp = b"RIFF\x10\0\0\0WEBPVP8 picture".as_slice();
    let jpeg = b"\xff\xd8\xff\xe0picture".as_slice();
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>".as_slice();
    for (place, (media, bytes, status)) in [
        ("image/webp", webp, 201),
        ("image/jpeg", jpeg, 201),
        ("IMAGE/PNG", PNG, 201),
        ("image/png", jpeg, 415),
        ("image/jpeg", PNG, 415),
        ("image/svg+xml", svg, 415),
        ("image/png", svg, 415),
        ("text/html", PNG, 415),
        ("image/png", b"".as_slice(), 415),
        ("image/webp", b"RIFF\x10\0\0\0WAVEfmt ".as_slice(), 415),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = acting(rig.post("/v1/images"), 1).key(&place.to_string()).body(media, bytes.to_vec()).send().await;
        answer.expect(status);
    }
    let large = [PNG, &vec![0; 1024 * 1024]].concat();
    let refused = acting(rig.post("/v1/images"), 1).key("large").body("image/png", large).send().await;
    refused.refused(413, "too_large");
    let nobody = rig.post("/v1/images").key("x").body("image/png", PNG).send().await;
    nobody.refused(401, "unauthenticated");
}

/// A picture of a megabyte, whose bytes tell where in it they stand.
fn large() -> Vec<u8> {
    let filler = (0..u32::MAX).flat_map(u32::to_be_bytes);
    PNG.iter().copied().chain(filler).take(1024 * 1024).collect()
}

/// What was read once is served without the database; and what breaks off is seen to be broken.
#[tokio::test]
async fn a_large_image_goes_out_in_pieces_with_its_length_and_is_read_once() {
    let rig = Rig::with_tenants(&[1]).await;
    let picture = large();
    let made = acting(rig.post("/v1/images"), 1).key("a").body("image/png", picture.clone()).send().await.expect(201);
    let (path, hash) = (made["path"].as_str().unwrap(), made["hash"].as_str().unwrap());
    let served = rig.get(path).send().await;
    assert!(served.body == picture, "{} of {} bytes", served.body.len(), picture.len());
    assert_eq!(served.headers["content-length"], "1048576");
    assert_eq!(served.headers["etag"], format!("\"{hash}\""));
    // A database that lost its end: a process that kept nothing announces what it cannot send.
    let cut = "UPDATE images SET content = SUBSTR(content, 1, 900000) WHERE hash = ?";
    let another = rig.another().await;
    assert_eq!(another.get(path).header("if-none-match", "*").send().await.status, 304, "it knows the first piece");
    rig.db.exec(cut, vec![hash.into()]).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut connection = another.connect().await;
    connection.write_all(ask.as_bytes()).await.unwrap();
    let mut came = Vec::new();
    let _reset = connection.read_to_end(&mut came).await;
    let announced = String::from_utf8_lossy(&came).to_ascii_lowercase().contains("content-length: 1048576\r\n");
    assert!(announced && came.len() < picture.len(), "{} bytes", came.len());
    // Who kept all of it needs no database.
    rig.db.exec("DELETE FROM images", vec![]).await.unwrap();
    assert!(rig.get(path).send().await.body == picture);
    rig.another().await.get(path).send().await.refused(404, "not_found");
}

/// The first moment of a sale: all want the same picture, of which nothing is in memory.
#[tokio::test]
async fn many_who_ask_for_one_image_at_once_all_get_it() {
    let rig = Rig::with_tenants(&[1]).await;
    let picture = large();
    let made = acting(rig.post("/v1/images"), 1).key("a").body("image/png", picture.clone()).send().await.expect(201);
    let path = made["path"].as_str().unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..60 {
        asking.spawn(rig.get(path).detach());
    }
    assert!(asking.join_all().await.iter().all(|answer| answer.status == 200 && answer.body == picture));
}
