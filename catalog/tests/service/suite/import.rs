//! Import and export of products: by codes, line by line, past what is wrong; an export that is
//! imported changes nothing.

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};
use store::sql::Sql as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    jobs::{file, finish, import, shown},
    products::{acting, new_product, new_sku},
    rig::{OPERATOR, Rig},
};

async fn import_lines(rig: &Rig, tenant: u32, key: &str, lines: String) -> Value {
    let ask = acting(rig.post("/v1/products/import?format=jsonl"), tenant).key(key);
    ask.body("application/jsonl", lines).send().await.expect(202)
}

async fn errors(rig: &Rig, tenant: u32, job: &Value) -> Vec<(u64, String)> {
    let path = format!("/v1/jobs/{}/errors?limit=100", job["id"].as_str().unwrap());
    let page = acting(rig.get(&path), tenant).send().await.expect(200);
    let errors = page["items"].as_array().unwrap().iter();
    errors.map(|error| (error["line"].as_u64().unwrap(), error["field"].as_str().unwrap().to_owned())).collect()
}

async fn all(rig: &Rig, tenant: u32, path: &str) -> Vec<Value> {
    acting(rig.get(&format!("{path}?limit=100")), tenant).send().await.expect(200)["items"].as_array().unwrap().clone()
}

async fn export(rig: &Rig, tenant: u32, format: &str, key: &str) -> String {
    let path = format!("/v1/products/export?format={format}");
    let job = acting(rig.post(&path), tenant).key(key).send().await.expect(202);
    let result = format!("/v1/jobs/{}/result", job["id"].as_str().unwrap());
    acting(rig.get(&result), tenant).send().await.refused(409, "conflict");
    finish(rig).await;
    let file = acting(rig.get(&result), tenant).send().await;
    assert_eq!(file.status, 200, "{:?}", file.json());
    assert!(file.headers["content-disposition"].to_str().unwrap().starts_with("attachment;"));
    String::from_utf8(file.body.to_vec()).unwrap()
}

#[tokio::test]
async fn lines_make_and_change_by_code_and_unchanged_ones_change_nothing() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let csv = "\u{feff}title,product,sku,price,currency,sku_attributes\r\n\
               \"Kettle, \"\"the\"\" 壶\",K,K-RED,9900,CNY,\"[{\"\"name\"\":\"\"colour\"\",\"\"value\"\":\"\"red\"\"}]\"\r\n\
               \"Kettle, \"\"the\"\" 壶\",K,K-BLUE,9900,CNY,\r\n\
               Pot,POT,,,,\r\n";
    let job = import(&rig, 1, "a", csv).await.expect(202);
    finish(&rig).await;
    let done = shown(&rig, 1, &job).await;
    assert_eq!(done["counts"], json!({ "made": 3, "changed": 0, "unchanged": 0, "failed": 0 }), "{done}");
    let products = all(&rig, 1, "/v1/products").await;
    assert_eq!((&products[0]["title"], &products[1]["code"]), (&json!("Kettle, \"the\" 壶"), &json!("POT")));
    let skus = all(&rig, 1, "/v1/skus").await;
    assert_eq!(skus[0]["attributes"], json!([{ "name": "colour", "value": "red" }]));

    let again = import(&rig, 1, "b", csv).await.expect(202);
    finish(&rig).await;
    assert_eq!(shown(&rig, 1, &again).await["counts"]["unchanged"], 3);
    assert_eq!((all(&rig, 1, "/v1/products").await, all(&rig, 1, "/v1/skus").await), (products.clone(), skus.clone()));

    rig.db.exec("UPDATE skus SET used = 1", vec![]).await.unwrap();
    let lines = "{\"product\":\"K\",\"sku\":\"K-RED\",\"price\":8800}\n\n{\"product\":\"POT\",\"state\":\"active\"}";
    let other = import_lines(&rig, 1, "c", lines.to_owned()).await;
    finish(&rig).await;
    assert_eq!(shown(&rig, 1, &other).await["counts"]["changed"], 2);
    let after = all(&rig, 1, "/v1/skus").await;
    let mut expected = skus[0].clone();
    (expected["price"]["amount"], expected["version"], expected["used"]) = (json!(8800), json!(2), json!(true));
    assert_eq!(after[0], expected, "only what the line says");
    assert_eq!(all(&rig, 1, "/v1/products").await[0], products[0]);
    assert_eq!(all(&rig, 2, "/v1/products").await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_wrong_is_named_by_line_and_field_and_the_job_goes_on() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let csv = "product,title,state,attributes,sku,price,currency\n\
               A,Good,active,[],A-1,1,CNY\n\
               \"B\nB\",,sold,,B-1,1.5,cny\n\
               C,\"two\nlines\",,,,,\n\
               D,Cells,active\n\
               \n\
               E,,,,,,\n\
               F,No SKU,,,,5,\n\
               G,JSON,,{,,,\n\
               H,Other's,,,A-1,1,CNY\n\
               I,Price,,,I-1,,\n\
               J,Last,draft,[],J-1,2,JPY";
    let job = import(&rig, 1, "a", csv).await.expect(202);
    finish(&rig).await;
    let done = shown(&rig, 1, &job).await;
    assert_eq!(done["counts"], json!({ "made": 2, "changed": 0, "unchanged": 0, "failed": 8 }), "{done}");
    let mut found = errors(&rig, 1, &job).await;
    found.sort();
    let expected = [
        (3, "price"),
        (5, "title"),
        (7, "line"),
        (9, "title"),
        (10, "price"),
        (11, "attributes"),
        (12, "sku"),
        (13, "currency"),
        (13, "price"),
    ];
    assert_eq!(found, expected.map(|(line, field)| (line, field.to_owned())));
    assert_eq!(done["flaws"], 9);
    let codes: Vec<_> = all(&rig, 1, "/v1/skus").await.iter().map(|sku| sku["code"].clone()).collect();
    assert_eq!(codes, ["A-1", "J-1"]);

    let lines = "{\"product\":\"A\",\"title\":\"\",\"tenant\":2,\"fields\":{\"a\":1}}\n[1]\n{\"product\":\"A\"";
    let job = import_lines(&rig, 1, "b", format!("{{\"product\":\"A\"}}\n{lines}")).await;
    finish(&rig).await;
    let mut found = errors(&rig, 1, &job).await;
    found.sort();
    let expected = [(2, "fields"), (2, "tenant"), (2, "title"), (3, "line"), (4, "line")];
    assert_eq!(found, expected.map(|(line, field)| (line, field.to_owned())));
}

#[tokio::test]
async fn what_is_no_such_file_is_refused_at_once() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    for (format, body, fields) in [
        ("csv", "".to_owned(), vec!["body"]),
        ("csv", "title,price\n".to_owned(), vec!["product"]),
        ("csv", "product,prize,title,title\n".to_owned(), vec!["prize", "title"]),
        ("csv", format!("product,\"{}", "x".repeat(70_000)), vec!["body"]),
        ("jsonl", "product,title\n".to_owned(), vec!["body"]),
        ("jsonl", "[1]\n".to_owned(), vec!["body"]),
        ("jsonl", "".to_owned(), vec!["body"]),
        ("xlsx", "product\n".to_owned(), vec!["format"]),
    ] {
        let ask = acting(rig.post(&format!("/v1/products/import?format={format}")), 1).key("a");
        let refused = ask.body("text/csv", body).send().await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), fields, "{format}");
    }
    let ask = acting(rig.post("/v1/products/import?format=csv"), 1).key("a");
    let latin = ask.body("text/csv", b"product\nK\xe9ttle\n".to_vec()).send().await;
    assert_eq!(latin.refused(400, "invalid_request")["errors"][0]["message"], "is not UTF-8: see line 2");
    assert_eq!(acting(rig.get("/v1/jobs"), 1).send().await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_quote_that_is_never_closed_ends_the_job_with_its_line() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let csv = format!("product,title\nA,Good\nB,\"{}", "x\n".repeat(800_000));
    let job = import(&rig, 1, "a", csv).await.expect(202);
    finish(&rig).await;
    let failed = shown(&rig, 1, &job).await;
    assert_eq!((&failed["state"], &failed["counts"]["made"]), (&json!("failed"), &json!(1)));
    assert!(failed["reason"].as_str().unwrap().starts_with("line 3: "), "{failed}");
}

#[tokio::test]
async fn flaws_beyond_a_thousand_are_counted() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let csv = format!("product,title\n{}", "A,\n".repeat(2_500));
    let job = import(&rig, 1, "a", csv).await.expect(202);
    finish(&rig).await;
    let done = shown(&rig, 1, &job).await;
    assert_eq!((&done["flaws"], &done["counts"]["failed"]), (&json!(2_500), &json!(2_500)));
    let kept = rig.db.rows("SELECT COUNT(*), MAX(line) FROM job_errors", vec![]).await.unwrap().remove(0);
    let mut kept = kept;
    assert_eq!((kept.int().unwrap(), kept.int().unwrap()), (1_000, 1_001));
}

#[tokio::test]
async fn lines_keep_to_the_tenants_schema_and_images() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let schema = json!({ "schema": { "type": "object", "required": ["care"] } });
    acting(rig.put("/v1/product-fields"), 1).json(&schema).send().await.expect(200);
    let hash = "0".repeat(64);
    let csv = format!(
        "product,title,fields,images\nA,A,\"{{\"\"care\"\":1}}\",\"[\"\"https://a.example/b.png\"\"]\"\nB,B,,\nC,C,{{}},\n\
         D,D,\"{{\"\"care\"\":1}}\",\"[\"\"{hash}\"\"]\"\n"
    );
    let job = import(&rig, 1, "a", csv).await.expect(202);
    finish(&rig).await;
    let expected = [(3, "fields.care"), (4, "fields.care"), (5, "images")];
    assert_eq!(errors(&rig, 1, &job).await, expected.map(|(line, field)| (line, field.to_owned())));
}

#[tokio::test]
async fn a_large_file_is_read_across_chunks_in_pieces() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let mut csv = "product,title,description\n".to_owned();
    for number in 0..1_000 {
        csv.push_str(&format!("P{number},T,\"{}\"\n", format!("行 \"\"{number}\"\"\n").repeat(300)));
    }
    assert!(csv.len() > 3 * 1024 * 1024);
    let job = import(&rig, 1, "a", csv).await.expect(202);
    finish(&rig).await;
    let done = shown(&rig, 1, &job).await;
    assert_eq!((&done["state"], &done["counts"]["made"], &done["flaws"]), (&json!("done"), &json!(1_000), &json!(0)));
    let last = acting(rig.get("/v1/products?code=P999"), 1).send().await.expect(200);
    assert_eq!(last["items"][0]["description"], "行 \"999\"\n".repeat(300));
    assert!(export(&rig, 1, "csv", "b").await.len() > 3 * 1024 * 1024);
}

#[tokio::test]
async fn an_export_that_is_imported_changes_nothing() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    // Without a file to keep failures in: the seed is printed.
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let text = "[ -~\u{a1}-\u{ff}\u{4e00}-\u{4e20}\u{1f600}-\u{1f610}]{0,20}";
    let description = proptest::string::string_regex("[\"',;\t\r\n =@+壶\u{feff}x-]{0,40}").unwrap();
    let strategy = (text, description, text, any::<f64>().prop_filter("JSON has none", |number| number.is_finite()));
    let schema = json!({ "schema": { "type": "object" } });
    acting(rig.put("/v1/product-fields"), 1).json(&schema).send().await.expect(200);
    for number in 0..25 {
        let (title, description, value, float) = strategy.new_tree(&mut runner).unwrap().current();
        let product = json!({
            "code": format!("K{number}"), "title": format!("{title}x"),
            "description": description,
            "attributes": [{ "name": "a", "value": value }], "fields": { "float": float, "text": value }
        });
        let made = new_product(&rig, 1, &product).await.expect(201);
        for sku in 0..number % 3 {
            let price = json!({ "amount": number, "currency": "CNY" });
            let sku =
                json!({ "code": format!("\"{number},{sku}"), "price": price, "attributes": product["attributes"] });
            new_sku(&rig, 1, &made, &sku).await.expect(201);
        }
    }
    let before = (all(&rig, 1, "/v1/products").await, all(&rig, 1, "/v1/skus").await);
    for format in ["csv", "jsonl"] {
        let file = export(&rig, 1, format, format).await;
        let path = format!("/v1/products/import?format={format}");
        let job =
            acting(rig.post(&path), 1).key(&format!("{format}-again")).body("text/plain", file.clone()).send().await;
        // Elsewhere it makes the same.
        let copy = acting(rig.post(&path), 2).key(format).body("text/plain", file).send().await.expect(202);
        finish(&rig).await;
        let done = shown(&rig, 1, &job.expect(202)).await;
        let lines = done["counts"]["unchanged"].as_u64().unwrap();
        assert_eq!(done["counts"], json!({ "made": 0, "changed": 0, "unchanged": lines, "failed": 0 }), "{format}");
        assert!(lines > 25);
        assert_eq!(shown(&rig, 2, &copy).await["counts"]["changed"], 0);
    }
    assert_eq!((all(&rig, 1, "/v1/products").await, all(&rig, 1, "/v1/skus").await), before);
}

/// Products of more SKUs than a piece has, and more products than that, are exported whole: each
/// line once.
#[tokio::test]
async fn an_export_across_pieces_has_each_line_once() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let mut csv = file(2_500);
    csv.extend((0..4_100).map(|number| format!("MANY,Many,M{number},1,CNY\n")));
    csv.push_str("NONE,None,,,\n");
    csv.push_str("LAST,Last,L,1,CNY\n");
    let lines = csv.lines().count();
    import(&rig, 1, "a", csv).await.expect(202);
    let exported = export(&rig, 1, "csv", "b").await;
    let mut codes: Vec<&str> = exported.lines().map(|line| line.split(',').nth(7).unwrap()).collect();
    assert_eq!(codes.len(), lines);
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), lines);
    let job = shown(&rig, 1, &json!({ "id": "2" })).await;
    assert_eq!((&job["done"], &job["total"]), (&json!(2_503), &json!(2_503)));
}

/// Its length is announced, so that a client sees what it has not got.
#[tokio::test]
async fn a_result_that_breaks_off_is_seen_to_be_broken() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    import(&rig, 1, "a", file(2_500)).await.expect(202);
    let whole = export(&rig, 1, "csv", "b").await;
    let ask = "GET /v1/jobs/2/result HTTP/1.1\r\nHost: a\r\nFlashsale-Tenant: 1\r\nConnection: close\r\n";
    let ask = format!("{ask}Authorization: Bearer {OPERATOR}\r\n\r\n");
    let get = async || {
        let mut connection = rig.connect().await;
        connection.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains(&format!("content-length: {}", whole.len())), "{head}");
        body.to_owned()
    };
    assert_eq!(get().await, whole);
    rig.db.exec("DELETE FROM job_chunks WHERE part = 'result' AND chunk = 1", vec![]).await.unwrap();
    let broken = get().await;
    assert!(broken.len() < whole.len() && whole.starts_with(&broken), "{} of {}", broken.len(), whole.len());
}

/// Few large bodies are read at a time; small ones wait for nobody.
#[tokio::test]
async fn of_three_large_files_at_once_one_is_told_to_come_back() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let head = format!(
        "POST /v1/products/import?format=csv HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPERATOR}\r\n\
         Flashsale-Tenant: 1\r\nIdempotency-Key: a\r\nContent-Length: 60000000\r\n\r\nproduct"
    );
    let unfinished = async || {
        let mut connection = rig.connect().await;
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    let (first, second, third) = (unfinished(), unfinished(), unfinished());
    let answer = tokio::select! { answer = first => answer, answer = second => answer, answer = third => answer };
    assert_eq!(answer, "HTTP/1.1 503");
    import(&rig, 1, "b", file(1)).await.expect(202);
}

async fn rows(rig: &Rig, table: &str) -> i64 {
    rig.db.rows(&format!("SELECT COUNT(*) FROM {table}"), vec![]).await.unwrap().remove(0).int().unwrap()
}

/// A file of several chunks, whose characters fall on every border, is read as it is; what no job
/// came of leaves nothing: the same call again, a file that is none, one with a wrong byte at its
/// end.
#[tokio::test]
async fn a_file_of_many_chunks_is_received_as_it_is_and_what_no_job_reads_is_gone() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let head = "\u{feff}product,title,description\n".to_owned();
    let line = |number: usize| format!("P{number},壶,{}\n", "壶".repeat(3_000 + number % 3));
    let csv = (0..400).fold(head, |csv, number| csv + &line(number));
    assert!(csv.len() > 3 * 1024 * 1024);
    let job = import(&rig, 1, "a", csv.clone()).await.expect(202);
    assert_eq!((rows(&rig, "job_chunks").await, rows(&rig, "job_uploads").await), (4, 0));
    assert_eq!(import(&rig, 1, "a", csv.clone()).await.expect(202), job, "the same call");
    import(&rig, 1, "a", csv.replace("P7,", "P8,")).await.refused(422, "idempotency_mismatch");
    let wrong = [csv.as_bytes(), b"P,\xff\n"].concat();
    let ask = acting(rig.post("/v1/products/import?format=csv"), 1).key("b").body("text/csv", wrong).send().await;
    assert_eq!(ask.refused(400, "invalid_request")["errors"][0]["message"], "is not UTF-8: see line 402");
    import(&rig, 1, "c", format!("moon,{csv}")).await.refused(400, "invalid_request");
    assert_eq!((rows(&rig, "job_chunks").await, rows(&rig, "job_uploads").await), (4, 0), "one job, and no more");
    finish(&rig).await;
    let done = shown(&rig, 1, &job).await;
    assert_eq!((&done["counts"]["made"], &done["done"]), (&json!(400), &json!(csv.len() - 3)));
    let found = all(&rig, 1, "/v1/products").await;
    assert_eq!(found[1]["description"], "壶".repeat(3_001));
}

/// A client that goes away in the middle: what it sent is gone at once or in an hour, and no job
/// is.
#[tokio::test]
async fn half_a_file_is_no_job_and_is_removed() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let mut connection = rig.connect().await;
    let head = format!(
        "POST /v1/products/import?format=csv HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {OPERATOR}\r\n\
         Flashsale-Tenant: 1\r\nIdempotency-Key: a\r\nContent-Length: 60000000\r\n\r\nproduct,title\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&"P,壶\n".repeat(500_000).into_bytes()).await.unwrap();
    while rows(&rig, "job_chunks").await < 2 {
        tokio::task::yield_now().await;
    }
    drop(connection);
    while rows(&rig, "job_chunks").await + rows(&rig, "job_uploads").await > 0 {
        rig.clock.advance(std::time::Duration::from_secs(2 * 3_600));
        finish(&rig).await;
    }
    assert_eq!(rows(&rig, "jobs").await, 0);
}
