//! Images: their bytes say what they are, the same bytes are one image, and what is served never
//! changes and runs nothing.

use serde_json::json;
use store::sql::Sql as _;

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
