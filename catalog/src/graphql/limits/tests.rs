//! Goal: each limit is found, and what a shop asks for passes. Method: documents by hand, each a
//! little below or above one limit.

use async_graphql::parser::parse_query;
use serde_json::json;

use super::*;

fn checked(query: &str, variables: &serde_json::Value) -> Result<(), ServerError> {
    check(&parse_query(query).unwrap(), &Variables::from_json(variables.clone()))
}

#[track_caller]
fn passes(query: &str) {
    let refused = checked(query, &json!({})).err().map(|error| error.message);
    assert_eq!(refused, None, "{query}");
}

#[track_caller]
fn refused(query: &str, limit: &Limit) {
    let error = checked(query, &json!({})).expect_err(query);
    assert_eq!(error.message, format!("a query has at most {} {}", limit.max, limit.counts), "{query}");
    assert_eq!(error.extensions.unwrap().get("code"), Some(&Code::TooLarge.as_str().into()));
}

#[test]
fn what_a_shop_asks_for_passes() {
    passes("{ products { items { id code skus { items { id stock(first: 5) { items { warehouse onHand } } } } } } }");
    passes("{ sales(first: 20) { items { code offers { items { id standing { target effective left } } } } } }");
    passes("{ a: product(id: 1) { code } b: product(id: 2) { code } warehouses { items { code } } }");
}

/// The query by which tools learn the schema, as long as it gets.
#[test]
fn the_query_of_tools_for_the_schema_passes() {
    let of_type = (0..9).fold(String::new(), |inner, _| format!("ofType {{ kind name {inner} }}"));
    passes(&format!(
        "query IntrospectionQuery {{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }} \
         subscriptionType {{ name kind }} types {{ ...FullType }} directives {{ name description isRepeatable \
         locations args(includeDeprecated: true) {{ ...InputValue }} }} }} }} \
         fragment FullType on __Type {{ kind name description specifiedByURL isOneOf \
         fields(includeDeprecated: true) {{ name description args(includeDeprecated: true) {{ ...InputValue }} \
         type {{ ...TypeRef }} isDeprecated deprecationReason }} \
         inputFields(includeDeprecated: true) {{ ...InputValue }} interfaces {{ ...TypeRef }} \
         enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }} \
         possibleTypes {{ ...TypeRef }} }} \
         fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue isDeprecated \
         deprecationReason }} \
         fragment TypeRef on __Type {{ kind name {of_type} }}"
    ));
}

#[test]
fn nesting_has_an_end_and_a_fragment_in_itself_none() {
    let nested = |levels: usize| format!("{}a{}", "{ a ".repeat(levels), " }".repeat(levels));
    passes(&nested(24));
    refused(&nested(25), &DEPTH);
    refused("{ ...a } fragment a on Query { ...a }", &DEPTH);
    refused("{ ...a } fragment a on Query { ...b } fragment b on Query { x { ...a } }", &DEPTH);
}

#[test]
fn aliases_and_each_use_of_a_fragment_count() {
    let wide = |fields: usize| (0..fields).fold(String::from("{"), |text, field| text + &format!(" f{field}: x")) + "}";
    passes(&wide(1_000));
    refused(&wide(1_001), &SELECTIONS);
    // Each fragment uses the next one twice: 2^20 fields, of which a thousand are looked at.
    let doubling = (0..20).fold(String::from("{ ...f0 }"), |text, level| {
        text + &format!(" fragment f{level} on Query {{ a: x {{ ...f{0} }} b: x {{ ...f{0} }} }}", level + 1)
    });
    refused(&(doubling + " fragment f20 on Query { x }"), &DEPTH);
    let doubling = (0..12).fold(String::from("{ ...f0 }"), |text, level| {
        text + &format!(" fragment f{level} on Query {{ ...f{0} ...f{0} }}", level + 1)
    });
    refused(&(doubling + " fragment f12 on Query { x }"), &SELECTIONS);
    refused(&format!("query a {} query b {}", wide(600), wide(600)), &SELECTIONS);
}

#[test]
fn what_is_read_is_counted_by_alias() {
    let reads = |reads: usize| {
        (0..reads).fold(String::from("{"), |text, read| text + &format!(" p{read}: product(id: {read}) {{ code }}"))
            + "}"
    };
    passes(&reads(20));
    refused(&reads(21), &READS);
}

#[test]
fn each_list_multiplies_by_what_it_is_asked_for() {
    let products = |first: &str| {
        format!("{{ products(first: {first}) {{ items {{ a b skus(first: 100) {{ items {{ c }} }} }} }} }}")
    };
    passes(&products("100"));
    let three = |first: u32| {
        format!(
            "{{ products(first: 20) {{ items {{ skus(first: {first}) {{ items {{ stock(first: 10) {{ items {{ a }} }} }} }} }} }} }}"
        )
    };
    passes(&three(70));
    refused(&three(100), &COST);
    refused(
        "{ products(first: 100) { items { attributes { name value } skus { items { attributes { name } } } } } }",
        &COST,
    );
}

#[test]
fn a_page_by_a_variable_counts_as_the_variable_says_and_as_the_largest_where_it_does_not() {
    let query = "query ($n: Int! DEFAULT) { products(first: 100) { items { skus(first: $n) { items { stock(first: 5) \
                 { items { a } } } } } } }";
    let (none, default) = (query.replace("DEFAULT", ""), query.replace("DEFAULT", "= 2"));
    assert!(checked(&none, &json!({ "n": 2 })).is_ok());
    assert!(checked(&none, &json!({ "n": 100 })).is_err());
    assert!(checked(&none, &json!({})).is_err(), "the most of a page");
    assert!(checked(&none, &json!({ "n": "many" })).is_err());
    assert!(checked(&default, &json!({})).is_ok());
    assert!(checked(&default, &json!({ "n": 100 })).is_err());
}

#[test]
fn the_schema_of_the_schema_is_not_asked_for_in_circles() {
    let circles = |times: usize| {
        let inner = (0..times).fold(String::from("name"), |inner, _| format!("fields {{ type {{ {inner} }} }}"));
        format!("{{ __schema {{ types {{ {inner} }} }} }}")
    };
    passes(&circles(2));
    refused(&circles(5), &COST);
}
