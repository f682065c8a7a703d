//! Goal: a request reaches the mount it is for and no other, and mounts that cannot be told apart
//! are refused. Method: tables of small services, searched; `tests/router.rs` asks a served one.

use super::*;

/// A service that is nothing but its mounts.
struct Shop;
struct Catalog;

impl Service for Shop {
    type Route = char;

    fn mounts() -> Vec<Mount<char>> {
        vec![
            Mount::post("/v1/orders", "buy", 'b'),
            Mount::get("/v1/orders", "order_page", 'p'),
            Mount::get("/v1/orders/{order_id}", "order", 'o'),
            Mount::get("/v1/time", "time", 't'),
        ]
    }

    async fn answer(&self, _route: char, _asked: Asked<'_>) -> Response<Body> {
        Response::default()
    }
}

impl Service for Catalog {
    type Route = u8;

    fn mounts() -> Vec<Mount<u8>> {
        let cancel = "/v1/orders/{order_id}/cancel";
        let put = Mount { method: Method::PUT, ..Mount::get("/v1/time", "set_time", 2) };
        vec![Mount::post("/v1/products", "products", 1), put, Mount::post(cancel, "cancel", 3)]
    }

    async fn answer(&self, _route: u8, _asked: Asked<'_>) -> Response<Body> {
        Response::default()
    }
}

/// A service of one mount, as a test needs it.
macro_rules! service_of {
    ($name:ident, $mount:expr) => {
        struct $name;

        impl Service for $name {
            type Route = ();

            fn mounts() -> Vec<Mount<()>> {
                vec![$mount]
            }

            async fn answer(&self, _route: (), _asked: Asked<'_>) -> Response<Body> {
                Response::default()
            }
        }
    };
}

fn found<R: Copy>(table: &Table<R>, method: Method, path: &str) -> Result<(usize, R, Vec<String>), String> {
    match table.find(&method, path) {
        Found::Mount(place, route, values) => {
            Ok((place, route, values.iter().map(|(name, value)| format!("{name}={value}")).collect()))
        }
        Found::OtherMethods(allow) => Err(allow.to_str().unwrap().to_owned()),
        Found::Nothing => Err("nothing".to_owned()),
    }
}

#[test]
fn paths_are_matched_exactly_and_their_parts_named() {
    let table = Table::of::<Shop>().unwrap();
    assert_eq!(table.names(), ["buy", "order_page", "order", "time"]);
    assert_eq!(found(&table, Method::POST, "/v1/orders"), Ok((0, 'b', vec![])));
    assert_eq!(found(&table, Method::GET, "/v1/orders"), Ok((1, 'p', vec![])));
    assert_eq!(found(&table, Method::GET, "/v1/orders/%31"), Ok((2, 'o', vec!["order_id=%31".to_owned()])));
    assert_eq!(found(&table, Method::HEAD, "/v1/time"), Ok((3, 't', vec![])), "GET answers HEAD");
    for path in
        ["", "/", "/v1", "/v1/", "/v1/orders/", "/v1/orders/1/2", "/v2/time", "/v1/time/", "//v1/time", "/v1/Orders"]
    {
        assert_eq!(found(&table, Method::GET, path), Err("nothing".to_owned()), "{path}");
    }
}

#[test]
fn other_methods_are_told_those_that_there_are() {
    let table = Table::of::<Shop>().unwrap();
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS, Method::from_bytes(b"get").unwrap()] {
        assert_eq!(found(&table, method, "/v1/orders"), Err("GET, HEAD, POST".to_owned()));
    }
    assert_eq!(found(&table, Method::POST, "/v1/orders/1"), Err("GET, HEAD".to_owned()));
}

#[test]
fn services_share_a_port_and_its_paths() {
    let table = Table::of::<Both<Both<Shop, ()>, Catalog>>().unwrap();
    assert_eq!(found(&table, Method::POST, "/v1/orders").unwrap().1, OneOf::First(OneOf::First('b')));
    assert_eq!(found(&table, Method::POST, "/v1/orders/7/cancel").unwrap().1, OneOf::Second(3));
    assert_eq!(found(&table, Method::PUT, "/v1/time").unwrap().1, OneOf::Second(2));
    assert_eq!(found(&table, Method::POST, "/v1/time").unwrap_err(), "GET, HEAD, PUT");
    assert_eq!(table.names()[4..], ["products", "set_time", "cancel"]);
}

#[test]
fn two_mounts_of_the_same_are_refused() {
    service_of!(SamePath, Mount::post("/v1/orders", "orders", ()));
    let error = Table::of::<Both<Shop, SamePath>>().unwrap_err();
    assert_eq!(error.to_string(), "POST /v1/orders is mounted twice: remove one of the two mounts");
    service_of!(OtherName, Mount::get("/v1/orders/{id}", "one_order", ()));
    assert!(matches!(Table::of::<Both<Shop, OtherName>>(), Err(RouteError::Pattern { .. })));
    service_of!(SameName, Mount::get("/v1/purchases", "buy", ()));
    assert!(matches!(Table::of::<Both<Shop, SameName>>(), Err(RouteError::Name("buy"))));
}
